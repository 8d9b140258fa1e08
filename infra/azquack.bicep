// The apps. azd deploys this file with each `azd deploy`, after it has built and pushed the image, so a
// revision gets its image and its settings at once and `azd provision` never touches a running app.
metadata name = 'AzQuack'
metadata description = 'The catalog app, the query app and the maintenance job, in the resources that main.bicep made.'

@description('Required. Name of the azd environment.')
param environmentName string

@description('Required. Image, with its registry and tag.')
param image string

@description('Required. Name of the Container Apps environment.')
param containerAppsEnvironmentName string

@description('Required. Host name of the registry.')
param registryServer string

@description('Required. Name of the account with the lake, the backups and the lease.')
param storageAccountName string

@description('Required. Name of the container with the lake.')
param lakeContainer string

@description('Required. Name of the container with the backups.')
param backupContainer string

@description('Required. Name of the container with the catalog\'s lease.')
param leaseContainer string

@description('Required. URL of the Key Vault.')
param keyVaultUrl string

@description('Required. Name of the catalog\'s identity.')
param catalogIdentityName string

@description('Required. Name of the query role\'s identity.')
param queryIdentityName string

@description('Optional. Region.')
param location string = resourceGroup().location

@description('Optional. Query nodes: 1 is the query app alone, each further one is an app of its own behind its gateway.')
@minValue(1)
@maxValue(8)
param queryNodes int = 1

@description('Optional. Cores of the catalog; the memory is two gigabytes for each.')
param catalogCpu string = '0.5'

@description('Optional. Cores of the query app; the memory is two gigabytes for each.')
param queryCpu string = '0.5'

@description('Optional. Address ranges that may reach the query app, with commas between them. Empty: everyone, with a token.')
param allowedAddresses string = ''

@description('Optional. Domain of the query app besides the platform\'s.')
param customDomain string = ''

@description('Optional. Resource id of the certificate for that domain.')
param certificateId string = ''

@description('Optional. When maintenance runs, as a cron expression in UTC.')
param maintenanceSchedule string = '17 3 * * *'

@description('Required. Name of the Log Analytics workspace.')
param workspaceName string

@description('Optional. Address that alerts are sent to. Empty: no alerts.')
param alertEmail string = ''

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}
var serviceTags = union(tags, { 'azd-service-name': 'azquack' })

// What this deployment is made of. Each carries its part's name as a tag, so that the hook after the deployment can
// remove one that a later deployment no longer names.
var nodeNames = [for i in range(1, queryNodes - 1): 'node${i}']
var parts = concat(
  ['catalog', 'query', 'maintenance', 'restore', 'workbook'],
  nodeNames,
  empty(alertEmail) ? [] : ['alerts']
)

resource environment 'Microsoft.App/managedEnvironments@2026-01-01' existing = {
  name: containerAppsEnvironmentName
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource catalogIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: catalogIdentityName
}

resource queryIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: queryIdentityName
}

var tokenSettings = [
  { name: 'AZQUACK_TOKEN_SOURCE', value: 'keyvault' }
  { name: 'AZQUACK_KEY_VAULT_URL', value: keyVaultUrl }
]

var catalogSettings = concat(tokenSettings, [
  { name: 'AZQUACK_CATALOG_DIR', value: '/catalog' }
  // While a deployment replaces the app two of them run; the one with the lease on this blob owns the catalog.
  { name: 'AZQUACK_LEASE', value: 'az://${leaseContainer}/catalog' }
  { name: 'AZQUACK_BACKUP_TO', value: 'az://${backupContainer}/catalog' }
  { name: 'AZQUACK_AZURE_ACCOUNT', value: storageAccountName }
  { name: 'AZQUACK_AZURE_CLIENT_ID', value: catalogIdentity.properties.clientId }
])

var lakeSettings = concat(tokenSettings, [
  { name: 'AZQUACK_CATALOG', value: 'quack:${catalog.outputs.fqdn}:443' }
  { name: 'AZQUACK_DATA_PATH', value: 'az://${lakeContainer}/lake/' }
  { name: 'AZQUACK_STORAGE_AUTH', value: 'managed_identity' }
  { name: 'AZQUACK_AZURE_ACCOUNT', value: storageAccountName }
  { name: 'AZQUACK_AZURE_CLIENT_ID', value: queryIdentity.properties.clientId }
])

// A node of another app is reached by the app's name, inside the environment.
var nodePort = 9600
var peers = [
  for i in range(1, queryNodes - 1): 'node${i}=${abbreviations.appContainerApps}node${i}-${token}:${nodePort}'
]

var gatewaySettings = concat(lakeSettings, [
  { name: 'AZQUACK_PRINCIPALS_SECRET_NAME', value: 'principals' }
  { name: 'AZQUACK_PEERS', value: join(peers, ',') }
  // The audit log goes where the other lines go, so that the alerts and the workbook can see it.
  { name: 'AZQUACK_AUDIT_LOG', value: '/dev/stderr' }
])

var nodeSettings = concat(lakeSettings, [
  { name: 'AZQUACK_NODE_HOST', value: '0.0.0.0' }
  { name: 'AZQUACK_NODE_PORT', value: string(nodePort) }
])

// Maintenance deletes no file that a kept backup still names, so it reads the backups.
var maintenanceSettings = concat(lakeSettings, [
  { name: 'AZQUACK_BACKUP_TO', value: 'az://${backupContainer}/catalog' }
])

module catalog 'modules/container-app.bicep' = {
  name: 'catalog'
  params: {
    name: '${abbreviations.appContainerApps}catalog-${token}'
    location: location
    tags: union(tags, { azquackPart: 'catalog' })
    environmentId: environment.id
    identityId: catalogIdentity.id
    registryServer: registryServer
    image: image
    role: 'catalog'
    settings: catalogSettings
    external: false
    cpu: catalogCpu
    storageName: 'catalog'
    mountPath: '/catalog'
  }
}

module query 'modules/container-app.bicep' = {
  name: 'query'
  params: {
    name: '${abbreviations.appContainerApps}query-${token}'
    location: location
    tags: union(serviceTags, { azquackPart: 'query' })
    environmentId: environment.id
    identityId: queryIdentity.id
    registryServer: registryServer
    image: image
    role: 'query'
    settings: gatewaySettings
    external: true
    allowedAddresses: empty(allowedAddresses) ? [] : split(allowedAddresses, ',')
    customDomain: customDomain
    certificateId: certificateId
    cpu: queryCpu
  }
}

module nodes 'modules/container-app.bicep' = [
  for i in range(1, queryNodes - 1): {
    name: 'node${i}'
    params: {
      name: take('${abbreviations.appContainerApps}node${i}-${token}', 32)
      location: location
      tags: union(tags, { azquackPart: 'node${i}' })
      environmentId: environment.id
      identityId: queryIdentity.id
      registryServer: registryServer
      image: image
      role: 'query'
      settings: nodeSettings
      external: false
      transport: 'tcp'
      targetPort: nodePort
      cpu: queryCpu
    }
  }
]

module maintenance 'modules/job.bicep' = {
  name: 'maintenance'
  params: {
    name: '${abbreviations.appJobs}maintain-${token}'
    location: location
    tags: union(tags, { azquackPart: 'maintenance' })
    environmentId: environment.id
    identityId: queryIdentity.id
    registryServer: registryServer
    image: image
    settings: maintenanceSettings
    arguments: [
      'maintain'
    ]
    schedule: maintenanceSchedule
  }
}

// Started by hand while the catalog app is deactivated: it needs the lease.
module restore 'modules/job.bicep' = {
  name: 'restore'
  params: {
    name: '${abbreviations.appJobs}restore-${token}'
    location: location
    tags: union(tags, { azquackPart: 'restore' })
    environmentId: environment.id
    identityId: catalogIdentity.id
    registryServer: registryServer
    image: image
    settings: catalogSettings
    // AZQUACK_RESTORE_AT in the job's settings chooses the backup: docs/deploy.md, the worst day.
    arguments: ['restore', '--yes']
    withCatalog: true
  }
}

module alerts 'modules/alerts.bicep' = if (!empty(alertEmail)) {
  name: 'alerts'
  params: {
    namePrefix: '${abbreviations.insightsScheduledQueryRules}${token}-'
    actionGroupName: '${abbreviations.insightsActionGroups}${token}'
    location: location
    tags: union(tags, { azquackPart: 'alerts' })
    email: alertEmail
    workspaceId: workspace.id
    catalogAppName: catalog.outputs.name
    queryAppName: query.outputs.name
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  params: {
    location: location
    tags: union(tags, { azquackPart: 'workbook' })
    workspaceId: workspace.id
    catalogAppName: catalog.outputs.name
    queryAppName: query.outputs.name
    maintenanceJobName: maintenance.outputs.name
  }
}

@description('Name of the catalog app.')
output CATALOG_APP_NAME string = catalog.outputs.name

@description('Host name of the catalog, inside the environment.')
output CATALOG_FQDN string = catalog.outputs.fqdn

@description('Name of the query app.')
output QUERY_APP_NAME string = query.outputs.name

@description('Host name of the query app, which people attach.')
output QUERY_FQDN string = query.outputs.fqdn

@description('Name of the maintenance job.')
output MAINTENANCE_JOB_NAME string = maintenance.outputs.name

@description('Name of the job that restores the catalog from a backup.')
output RESTORE_JOB_NAME string = restore.outputs.name

@description('The parts of this deployment, with commas between them: what carries another part\'s tag is left over.')
output DEPLOYED_PARTS string = join(parts, ',')
