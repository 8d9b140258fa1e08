targetScope = 'subscription'

metadata name = 'AzQuack, the ground'
metadata description = 'Everything that the pair stands on: storage, vault, registry, logs, the Container Apps environment and who may do what. The apps are azquack.bicep.'

@description('Required. Name of the azd environment; every name is derived from it.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Required. Region of every resource.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Optional. Object id of the operator, who may read and rotate the tokens and read the lake\'s files. Empty: none.')
param operatorPrincipalId string = ''

@description('Optional. What the operator is. Empty: Azure looks it up.')
@allowed(['', 'User', 'Group', 'ServicePrincipal'])
param operatorPrincipalType string = ''

@description('Optional. The public token to write. Empty: the one in the vault stays as it is.')
@secure()
param publicToken string = ''

@description('Optional. The internal token to write. Empty: the one in the vault stays as it is.')
@secure()
param internalToken string = ''

@description('Optional. The list of principals to write, as JSON. Empty: the one in the vault stays as it is.')
@secure()
param principals string = ''

@description('Optional. Put the environment into a virtual network, and storage and vault behind private endpoints.')
param privateNetwork bool = false

@description('Optional. Spread storage and replicas over zones. The replicas need the private network for it.')
param zoneRedundant bool = false

@description('Optional. Keep the catalog\'s share on SSD.')
param premiumCatalog bool = false

@description('Optional. Days for which deleted data can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 7

@description('Optional. Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Optional. Protect the vault against purging; `azd down --purge` then cannot free its name.')
param purgeProtection bool = false

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: '${abbreviations.resourcesResourceGroups}${environmentName}'
  location: location
  tags: tags
}

module catalogIdentity 'modules/identity.bicep' = {
  name: 'identity-catalog'
  scope: group
  params: {
    name: '${abbreviations.managedIdentityUserAssignedIdentities}catalog-${token}'
    location: location
    tags: tags
  }
}

module queryIdentity 'modules/identity.bicep' = {
  name: 'identity-query'
  scope: group
  params: {
    name: '${abbreviations.managedIdentityUserAssignedIdentities}query-${token}'
    location: location
    tags: tags
  }
}

module logs 'modules/logs.bicep' = {
  name: 'logs'
  scope: group
  params: {
    name: '${abbreviations.operationalInsightsWorkspaces}${token}'
    location: location
    tags: tags
    retentionInDays: logRetentionDays
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: group
  params: {
    name: '${abbreviations.containerRegistryRegistries}${token}'
    location: location
    tags: tags
    pullPrincipalIds: [
      catalogIdentity.outputs.principalId
      queryIdentity.outputs.principalId
    ]
  }
}

module keyVault 'modules/key-vault.bicep' = {
  name: 'key-vault'
  scope: group
  params: {
    name: '${abbreviations.keyVaultVaults}${token}'
    location: location
    tags: tags
    catalogPrincipalId: catalogIdentity.outputs.principalId
    queryPrincipalId: queryIdentity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
    publicToken: publicToken
    internalToken: internalToken
    principals: principals
    purgeProtection: purgeProtection
    publicNetwork: !privateNetwork
  }
}

module dataStorage 'modules/data-storage.bicep' = {
  name: 'data-storage'
  scope: group
  params: {
    name: '${abbreviations.storageStorageAccounts}data${token}'
    location: location
    tags: tags
    sku: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'
    softDeleteDays: softDeleteDays
    catalogPrincipalId: catalogIdentity.outputs.principalId
    queryPrincipalId: queryIdentity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
    publicNetwork: !privateNetwork
  }
}

module catalogStorage 'modules/catalog-storage.bicep' = {
  name: 'catalog-storage'
  scope: group
  params: {
    name: '${abbreviations.storageStorageAccounts}cat${token}'
    location: location
    tags: tags
    sku: premiumCatalog
      ? (zoneRedundant ? 'Premium_ZRS' : 'Premium_LRS')
      : (zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS')
    softDeleteDays: softDeleteDays
    publicNetwork: !privateNetwork
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: '${abbreviations.networkVirtualNetworks}${token}'
    location: location
    tags: tags
  }
}

module blobEndpoint 'modules/private-endpoint.bicep' = if (privateNetwork) {
  name: 'endpoint-blob'
  scope: group
  params: {
    name: '${abbreviations.networkPrivateEndpoints}blob-${token}'
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointsSubnetId
    targetId: dataStorage.outputs.id
    service: 'blob'
    zoneName: 'privatelink.blob.${az.environment().suffixes.storage}'
  }
}

module fileEndpoint 'modules/private-endpoint.bicep' = if (privateNetwork) {
  name: 'endpoint-file'
  scope: group
  params: {
    name: '${abbreviations.networkPrivateEndpoints}file-${token}'
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointsSubnetId
    targetId: catalogStorage.outputs.id
    service: 'file'
    zoneName: 'privatelink.file.${az.environment().suffixes.storage}'
  }
}

module vaultEndpoint 'modules/private-endpoint.bicep' = if (privateNetwork) {
  name: 'endpoint-vault'
  scope: group
  params: {
    name: '${abbreviations.networkPrivateEndpoints}vault-${token}'
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointsSubnetId
    targetId: keyVault.outputs.id
    service: 'vault'
    // The private zone of Key Vault has a name of its own, which no suffix of the cloud gives.
    #disable-next-line no-hardcoded-env-urls
    zoneName: 'privatelink.vaultcore.azure.net'
  }
}

module environment 'modules/environment.bicep' = {
  name: 'environment'
  scope: group
  params: {
    name: '${abbreviations.appManagedEnvironments}${token}'
    location: location
    tags: tags
    workspaceName: logs.outputs.name
    catalogStorageName: catalogStorage.outputs.name
    catalogShareName: catalogStorage.outputs.shareName
    subnetId: privateNetwork ? network!.outputs.appsSubnetId : ''
    zoneRedundant: privateNetwork && zoneRedundant
  }
}

@description('Name of the resource group.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Id of the tenant.')
output AZURE_TENANT_ID string = tenant().tenantId

@description('Host name of the registry, which azd pushes to.')
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.loginServer

@description('Name of the Container Apps environment.')
output AZURE_CONTAINER_APPS_ENVIRONMENT_NAME string = environment.outputs.name

@description('Name of the Key Vault.')
output AZURE_KEY_VAULT_NAME string = keyVault.outputs.name

@description('URL of the Key Vault.')
output AZURE_KEY_VAULT_ENDPOINT string = keyVault.outputs.uri

@description('Name of the account with the lake.')
output AZURE_STORAGE_ACCOUNT_NAME string = dataStorage.outputs.name

@description('Name of the container with the lake.')
output AZURE_LAKE_CONTAINER string = dataStorage.outputs.lakeContainer

@description('Name of the container with the backups.')
output AZURE_BACKUP_CONTAINER string = dataStorage.outputs.backupContainer

@description('Name of the container with the lease.')
output AZURE_LEASE_CONTAINER string = dataStorage.outputs.leaseContainer

@description('Name of the account with the catalog\'s share.')
output AZURE_CATALOG_STORAGE_ACCOUNT_NAME string = catalogStorage.outputs.name

@description('Name of the catalog\'s identity.')
output AZURE_CATALOG_IDENTITY_NAME string = last(split(catalogIdentity.outputs.id, '/'))

@description('Name of the query role\'s identity.')
output AZURE_QUERY_IDENTITY_NAME string = last(split(queryIdentity.outputs.id, '/'))

@description('Name of the workspace of the logs.')
output AZURE_LOG_ANALYTICS_WORKSPACE_NAME string = logs.outputs.name

@description('Workspace id of the logs.')
output AZURE_LOG_ANALYTICS_WORKSPACE_ID string = logs.outputs.customerId
