metadata name = 'Data storage'
metadata description = 'The account with the lake\'s Parquet files, the catalog\'s backups and its lease. It has no shared keys: identities only.'

@description('Required. Name of the account: lower case letters and digits.')
@minLength(3)
@maxLength(24)
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Principal id of the catalog role: writes backups and holds the lease.')
param catalogPrincipalId string

@description('Required. Principal id of the query role: writes the lake and, for maintenance, reads the backups.')
param queryPrincipalId string

@description('Optional. Object id of the operator, who may read the account. Empty: none.')
param operatorPrincipalId string = ''

@description('Optional. What the operator is. Empty: Azure looks it up.')
@allowed(['', 'User', 'Group', 'ServicePrincipal'])
param operatorPrincipalType string = ''

@description('Optional. Replication.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS'])
param sku string = 'Standard_LRS'

@description('Optional. Days for which a deleted blob or container can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 7

@description('Optional. Let the account be reached from the public network (RBAC still decides). False: only through a private endpoint.')
param publicNetwork bool = true

@description('Optional. Container with the lake.')
param lakeContainer string = 'lake'

@description('Optional. Container with the backups.')
param backupContainer string = 'backups'

@description('Optional. Container with the blob whose lease makes a catalog the owner.')
param leaseContainer string = 'lease'

var blobDataContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
)
var blobDataReader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
)

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    // DuckLake writes whole files under names of its own and never renames a directory: a hierarchical
    // namespace would bring nothing and take away soft delete's full support.
    isHnsEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetwork ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetwork ? 'Allow' : 'Deny'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    // A lake's files are never overwritten, so versions would only repeat what soft delete keeps.
    isVersioningEnabled: false
  }
}

resource lake 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: lakeContainer
  properties: {
    publicAccess: 'None'
  }
}

resource backups 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: backupContainer
  properties: {
    publicAccess: 'None'
  }
}

resource lease 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: leaseContainer
  properties: {
    publicAccess: 'None'
  }
}

resource queryWritesLake 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(lake.id, queryPrincipalId, blobDataContributor)
  scope: lake
  properties: {
    principalId: queryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataContributor
  }
}

resource queryReadsBackups 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(backups.id, queryPrincipalId, blobDataReader)
  scope: backups
  properties: {
    principalId: queryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataReader
  }
}

resource catalogWritesBackups 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(backups.id, catalogPrincipalId, blobDataContributor)
  scope: backups
  properties: {
    principalId: catalogPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataContributor
  }
}

resource catalogHoldsLease 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(lease.id, catalogPrincipalId, blobDataContributor)
  scope: lease
  properties: {
    principalId: catalogPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataContributor
  }
}

resource operatorReads 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorPrincipalId)) {
  name: guid(account.id, operatorPrincipalId, blobDataReader)
  scope: account
  properties: {
    principalId: operatorPrincipalId
    principalType: empty(operatorPrincipalType) ? null : operatorPrincipalType
    roleDefinitionId: blobDataReader
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('Blob endpoint of the account.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('Name of the container with the lake.')
output lakeContainer string = lake.name

@description('Name of the container with the backups.')
output backupContainer string = backups.name

@description('Name of the container with the lease.')
output leaseContainer string = lease.name
