metadata name = 'Workbook'
metadata description = 'A dashboard in the portal: statements, latency, refusals, backups, owners of the catalog, and what the platform says. workbook.json is its content.'

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Resource id of the Log Analytics workspace.')
param workspaceId string

@description('Required. Name of the catalog app.')
param catalogAppName string

@description('Required. Name of the query app.')
param queryAppName string

@description('Required. Name of the maintenance job.')
param maintenanceJobName string

@description('Optional. Title of the workbook.')
param title string = 'AzQuack'

// The content has these words where a deployment has names of its own.
var words = {
  WORKSPACE_ID: workspaceId
  RESOURCE_GROUP: resourceGroup().id
  CATALOG_APP: catalogAppName
  QUERY_APP: queryAppName
  MAINTENANCE_JOB: maintenanceJobName
}
var content = reduce(items(words), loadTextContent('workbook.json'), (text, word) => replace(text, word.key, word.value))

// A workbook's name is a GUID; people see its title.
resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'azquack')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: title
    serializedData: content
    sourceId: workspaceId
    version: 'Notebook/1.0'
  }
}

@description('Resource id of the workbook.')
output id string = workbook.id
