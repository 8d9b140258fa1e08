metadata name = 'Identity'
metadata description = 'A user-assigned identity for one role. What it may do stands in the modules that grant it.'

@description('Required. Name of the identity.')
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
  properties: {}
}

@description('Resource id, which a container app lists among its identities.')
output id string = identity.id

@description('Principal id, which role assignments take.')
output principalId string = identity.properties.principalId

@description('Client id, which the SDKs take.')
output clientId string = identity.properties.clientId
