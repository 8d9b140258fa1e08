metadata name = 'Network'
metadata description = 'Optional: a virtual network with a subnet for the Container Apps environment and one for private endpoints.'

@description('Required. Name of the network.')
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Optional. Address range of the network.')
param addressPrefix string = '10.60.0.0/22'

@description('Optional. Range of the environment\'s subnet, in that of the network: a /27 or larger.')
param appsPrefix string = '10.60.0.0/23'

@description('Optional. Range of the private endpoints\' subnet, in that of the network.')
param endpointsPrefix string = '10.60.2.0/24'

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'apps'
        properties: {
          addressPrefix: appsPrefix
          delegations: [
            {
              name: 'environments'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointsPrefix
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

@description('Resource id of the network.')
output id string = network.id

@description('Resource id of the subnet of the Container Apps environment.')
output appsSubnetId string = resourceId('Microsoft.Network/virtualNetworks/subnets', network.name, 'apps')

@description('Resource id of the subnet of the private endpoints.')
output endpointsSubnetId string = resourceId('Microsoft.Network/virtualNetworks/subnets', network.name, 'endpoints')
