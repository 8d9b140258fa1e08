// What azd hands over as variables, and what `az deployment sub create --parameters infra/main.bicepparam` finds in
// the shell. A variable that is set but empty counts as not set: azd keeps one that was cleared as ''.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')

// azd itself fills in who is signed in; a choice of the operator goes before it.
param operatorPrincipalId = empty(readEnvironmentVariable('LAKE_OPERATOR_ID', ''))
  ? readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
  : readEnvironmentVariable('LAKE_OPERATOR_ID', '')
param operatorPrincipalType = readEnvironmentVariable('LAKE_OPERATOR_TYPE', '')

param publicToken = readEnvironmentVariable('LAKE_NEW_PUBLIC_TOKEN', '')
param internalToken = readEnvironmentVariable('LAKE_NEW_INTERNAL_TOKEN', '')
param principals = readEnvironmentVariable('LAKE_NEW_PRINCIPALS', '')

param privateNetwork = bool(empty(readEnvironmentVariable('LAKE_PRIVATE_NETWORK', ''))
  ? 'false'
  : readEnvironmentVariable('LAKE_PRIVATE_NETWORK', ''))
param zoneRedundant = bool(empty(readEnvironmentVariable('LAKE_ZONE_REDUNDANT', ''))
  ? 'false'
  : readEnvironmentVariable('LAKE_ZONE_REDUNDANT', ''))
param premiumCatalog = bool(empty(readEnvironmentVariable('LAKE_PREMIUM_CATALOG', ''))
  ? 'false'
  : readEnvironmentVariable('LAKE_PREMIUM_CATALOG', ''))
param softDeleteDays = int(empty(readEnvironmentVariable('LAKE_SOFT_DELETE_DAYS', ''))
  ? '7'
  : readEnvironmentVariable('LAKE_SOFT_DELETE_DAYS', ''))
param logRetentionDays = int(empty(readEnvironmentVariable('LAKE_LOG_RETENTION_DAYS', ''))
  ? '30'
  : readEnvironmentVariable('LAKE_LOG_RETENTION_DAYS', ''))
param purgeProtection = bool(empty(readEnvironmentVariable('LAKE_PURGE_PROTECTION', ''))
  ? 'false'
  : readEnvironmentVariable('LAKE_PURGE_PROTECTION', ''))
