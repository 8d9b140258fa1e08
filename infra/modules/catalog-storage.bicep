metadata name = 'Catalog storage'
metadata description = 'The account with the Azure Files share that holds catalog.duckdb. Container Apps mounts SMB shares with an account key only, which is why this account is apart from the data.'

@description('Required. Name of the account: lower case letters and digits.')
@minLength(3)
@maxLength(24)
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Optional. Premium (SSD) answers in about a millisecond, Standard in several; Premium is billed by its provisioned size.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Premium_LRS', 'Premium_ZRS'])
param sku string = 'Standard_LRS'

@description('Optional. Size of the share in gigabytes. Premium shares start at 100.')
@minValue(1)
@maxValue(5120)
param shareSizeGb int = 100

@description('Optional. Days for which a deleted share can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 7

@description('Optional. Let the account be reached from the public network (the key still decides). False: only through a private endpoint.')
param publicNetwork bool = true

@description('Optional. Name of the share.')
param shareName string = 'catalog'

var premium = startsWith(sku, 'Premium')

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: premium ? 'FileStorage' : 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetwork ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetwork ? 'Allow' : 'Deny'
    }
  }
}

resource files 'Microsoft.Storage/storageAccounts/fileServices@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    shareDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    protocolSettings: {
      smb: {
        versions: 'SMB3.1.1'
        authenticationMethods: 'NTLMv2'
        channelEncryption: 'AES-128-GCM;AES-256-GCM'
      }
    }
  }
}

resource share 'Microsoft.Storage/storageAccounts/fileServices/shares@2025-08-01' = {
  parent: files
  name: shareName
  properties: {
    accessTier: premium ? 'Premium' : 'TransactionOptimized'
    enabledProtocols: 'SMB'
    shareQuota: shareSizeGb
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('Name of the share.')
output shareName string = share.name
