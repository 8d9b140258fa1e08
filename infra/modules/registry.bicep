metadata name = 'Registry'
metadata description = 'The container registry. It has no admin user: the two identities pull, azd pushes as the operator.'

@description('Required. Name of the registry: letters and digits only.')
@minLength(5)
@maxLength(50)
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Principal ids that may pull.')
param pullPrincipalIds array

@description('Optional. Service tier.')
@allowed(['Basic', 'Standard', 'Premium'])
param sku string = 'Basic'

var acrPull = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in pullPrincipalIds: {
    name: guid(registry.id, principalId, acrPull)
    scope: registry
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: acrPull
    }
  }
]

@description('Host name that images are pushed to and pulled from.')
output loginServer string = registry.properties.loginServer

@description('Name of the registry.')
output name string = registry.name
