// What azd hands over as variables: what main.bicep put out, the image that azd pushed, and the operator's choices.
// A variable that is set but empty counts as not set.
using 'azquack.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')
param image = readEnvironmentVariable('SERVICE_AZQUACK_IMAGE_NAME', '')
param containerAppsEnvironmentName = readEnvironmentVariable('AZURE_CONTAINER_APPS_ENVIRONMENT_NAME', '')
param registryServer = readEnvironmentVariable('AZURE_CONTAINER_REGISTRY_ENDPOINT', '')
param storageAccountName = readEnvironmentVariable('AZURE_STORAGE_ACCOUNT_NAME', '')
param lakeContainer = readEnvironmentVariable('AZURE_LAKE_CONTAINER', '')
param backupContainer = readEnvironmentVariable('AZURE_BACKUP_CONTAINER', '')
param leaseContainer = readEnvironmentVariable('AZURE_LEASE_CONTAINER', '')
param keyVaultUrl = readEnvironmentVariable('AZURE_KEY_VAULT_ENDPOINT', '')
param catalogIdentityName = readEnvironmentVariable('AZURE_CATALOG_IDENTITY_NAME', '')
param queryIdentityName = readEnvironmentVariable('AZURE_QUERY_IDENTITY_NAME', '')
param workspaceName = readEnvironmentVariable('AZURE_LOG_ANALYTICS_WORKSPACE_NAME', '')

param queryNodes = int(empty(readEnvironmentVariable('LAKE_QUERY_NODES', ''))
  ? '1'
  : readEnvironmentVariable('LAKE_QUERY_NODES', ''))
param catalogCpu = empty(readEnvironmentVariable('LAKE_CATALOG_CPU', ''))
  ? '0.5'
  : readEnvironmentVariable('LAKE_CATALOG_CPU', '')
param queryCpu = empty(readEnvironmentVariable('LAKE_QUERY_CPU', ''))
  ? '0.5'
  : readEnvironmentVariable('LAKE_QUERY_CPU', '')
param allowedAddresses = readEnvironmentVariable('LAKE_ALLOWED_ADDRESSES', '')
param customDomain = readEnvironmentVariable('LAKE_CUSTOM_DOMAIN', '')
param certificateId = readEnvironmentVariable('LAKE_CERTIFICATE_ID', '')
param alertEmail = readEnvironmentVariable('LAKE_ALERT_EMAIL', '')
param maintenanceSchedule = empty(readEnvironmentVariable('LAKE_MAINTENANCE_SCHEDULE', ''))
  ? '17 3 * * *'
  : readEnvironmentVariable('LAKE_MAINTENANCE_SCHEDULE', '')
