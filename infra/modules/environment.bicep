metadata name = 'Environment'
metadata description = 'The Container Apps environment, and in it the catalog\'s share as a storage that an app can mount.'

@description('Required. Name of the environment.')
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Name of the Log Analytics workspace, in this resource group.')
param workspaceName string

@description('Required. Name of the account with the catalog\'s share, in this resource group.')
param catalogStorageName string

@description('Required. Name of the catalog\'s share.')
param catalogShareName string

@description('Optional. Subnet of the environment. Empty: a network of the platform\'s own.')
param subnetId string = ''

@description('Optional. Spread replicas over zones. Needs a subnet.')
param zoneRedundant bool = false

@description('Optional. Name under which an app mounts the catalog\'s share.')
param storageName string = 'catalog'

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource catalogStorage 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: catalogStorageName
}

resource environment 'Microsoft.App/managedEnvironments@2026-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: workspace.properties.customerId
        sharedKey: workspace.listKeys().primarySharedKey
      }
    }
    // The internal token and the lake's rows travel between the apps: encrypted past the ingress, too.
    peerTrafficConfiguration: {
      encryption: {
        enabled: true
      }
    }
    vnetConfiguration: empty(subnetId)
      ? null
      : {
          infrastructureSubnetId: subnetId
          internal: false
        }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
    zoneRedundant: zoneRedundant
  }
}

resource storage 'Microsoft.App/managedEnvironments/storages@2026-01-01' = {
  parent: environment
  name: storageName
  properties: {
    azureFile: {
      accountName: catalogStorage.name
      accountKey: catalogStorage.listKeys().keys[0].value
      shareName: catalogShareName
      accessMode: 'ReadWrite'
    }
  }
}

@description('Name of the environment.')
output name string = environment.name

@description('Domain under which its apps stand.')
output defaultDomain string = environment.properties.defaultDomain

@description('Name under which an app mounts the catalog\'s share.')
output storageName string = storage.name
