metadata name = 'Logs'
metadata description = 'The Log Analytics workspace that every container writes to.'

@description('Required. Name of the workspace.')
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Optional. Days that a line is kept.')
@minValue(30)
@maxValue(730)
param retentionInDays int = 30

@description('Optional. Gigabytes a day after which nothing more is taken in until the next day; a bound on the bill. -1: no bound.')
@minValue(-1)
param dailyQuotaGb int = 5

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionInDays
    workspaceCapping: {
      dailyQuotaGb: dailyQuotaGb
    }
    features: {
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

@description('Resource id of the workspace.')
output id string = workspace.id

@description('Name of the workspace.')
output name string = workspace.name

@description('Workspace id as `az monitor log-analytics query` takes it.')
output customerId string = workspace.properties.customerId
