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

// The content has words in capitals where a deployment has names of its own.
var text = loadTextContent('workbook.json')
var placed = replace(replace(text, 'WORKSPACE_ID', workspaceId), 'RESOURCE_GROUP', resourceGroup().id)
var named = replace(replace(placed, 'CATALOG_APP', catalogAppName), 'QUERY_APP', queryAppName)
var content = replace(named, 'MAINTENANCE_JOB', maintenanceJobName)

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
