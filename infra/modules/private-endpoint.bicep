metadata name = 'Private endpoint'
metadata description = 'A private endpoint for one service of one resource, with the private DNS zone that makes its public name resolve to it.'

@description('Required. Name of the endpoint.')
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Resource id of the network whose names are to resolve.')
param networkId string

@description('Required. Resource id of the subnet of the endpoint.')
param subnetId string

@description('Required. Resource id of the resource to be reached.')
param targetId string

@description('Required. Service of that resource.')
@allowed(['blob', 'file', 'vault'])
param service string

@description('Required. Name of the private DNS zone.')
param zoneName string

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: zoneName
  location: 'global'
  tags: tags
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: uniqueString(networkId)
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
}

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: targetId
          groupIds: [
            service
          ]
        }
      }
    ]
  }
}

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service
        properties: {
          privateDnsZoneId: zone.id
        }
      }
    ]
  }
}
