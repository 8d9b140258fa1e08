metadata name = 'Key Vault'
metadata description = 'The vault with the two tokens and the list of principals. Each identity may read only the secrets that its role needs.'

@description('Required. Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Principal id of the catalog role: reads the internal token.')
param catalogPrincipalId string

@description('Required. Principal id of the query role: reads both tokens and the principals.')
param queryPrincipalId string

@description('Optional. Object id of the operator, who may read and rotate the tokens. Empty: none.')
param operatorPrincipalId string = ''

@description('Optional. What the operator is. Empty: Azure looks it up.')
@allowed(['', 'User', 'Group', 'ServicePrincipal'])
param operatorPrincipalType string = ''

@description('Optional. The public token to write. Empty: the one in the vault stays as it is.')
@secure()
param publicToken string = ''

@description('Optional. The internal token to write. Empty: the one in the vault stays as it is.')
@secure()
param internalToken string = ''

@description('Optional. The list of principals to write, as JSON. Empty: the one in the vault stays as it is.')
@secure()
param principals string = ''

@description('Optional. Name of the secret with the public token.')
param publicTokenName string = 'public-token'

@description('Optional. Name of the secret with the internal token.')
param internalTokenName string = 'internal-token'

@description('Optional. Name of the secret with the list of principals.')
param principalsName string = 'principals'

@description('Optional. Refuse purging for the time of soft delete. With it, `azd down --purge` cannot free the name.')
param purgeProtection bool = false

@description('Optional. Let the vault be reached from the public network (RBAC still decides). False: only through a private endpoint.')
param publicNetwork bool = true

var secretsOfficer = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
)
var secretsUser = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '4633458b-17de-408a-b874-0445c86b69e6'
)

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    // Azure takes true or nothing here: false is refused, since protection cannot be taken off again.
    enablePurgeProtection: purgeProtection ? true : null
    publicNetworkAccess: publicNetwork ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetwork ? 'Allow' : 'Deny'
    }
  }
}

@onlyIfNotExists()
resource newPublicToken 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(publicToken)) {
  parent: vault
  name: publicTokenName
  tags: tags
  properties: {
    value: publicToken
    contentType: 'AzQuack public token'
  }
}

@onlyIfNotExists()
resource newInternalToken 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(internalToken)) {
  parent: vault
  name: internalTokenName
  tags: tags
  properties: {
    value: internalToken
    contentType: 'AzQuack internal token'
  }
}

@onlyIfNotExists()
resource newPrincipals 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(principals)) {
  parent: vault
  name: principalsName
  tags: tags
  properties: {
    value: principals
    contentType: 'application/json'
  }
}

// The secrets as they stand after this deployment, whether it wrote them or an earlier one did.
resource publicSecret 'Microsoft.KeyVault/vaults/secrets@2025-05-01' existing = {
  parent: vault
  name: publicTokenName
}

resource internalSecret 'Microsoft.KeyVault/vaults/secrets@2025-05-01' existing = {
  parent: vault
  name: internalTokenName
}

resource principalsSecret 'Microsoft.KeyVault/vaults/secrets@2025-05-01' existing = {
  parent: vault
  name: principalsName
}

resource catalogReadsInternal 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(internalSecret.id, catalogPrincipalId, secretsUser)
  scope: internalSecret
  properties: {
    principalId: catalogPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretsUser
  }
  dependsOn: [
    newInternalToken
  ]
}

resource queryReadsInternal 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(internalSecret.id, queryPrincipalId, secretsUser)
  scope: internalSecret
  properties: {
    principalId: queryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretsUser
  }
  dependsOn: [
    newInternalToken
  ]
}

resource queryReadsPublic 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(publicSecret.id, queryPrincipalId, secretsUser)
  scope: publicSecret
  properties: {
    principalId: queryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretsUser
  }
  dependsOn: [
    newPublicToken
  ]
}

resource queryReadsPrincipals 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(principalsSecret.id, queryPrincipalId, secretsUser)
  scope: principalsSecret
  properties: {
    principalId: queryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretsUser
  }
  dependsOn: [
    newPrincipals
  ]
}

resource operatorRotates 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorPrincipalId)) {
  name: guid(vault.id, operatorPrincipalId, secretsOfficer)
  scope: vault
  properties: {
    principalId: operatorPrincipalId
    principalType: empty(operatorPrincipalType) ? null : operatorPrincipalType
    roleDefinitionId: secretsOfficer
  }
}

@description('Resource id of the vault.')
output id string = vault.id

@description('Name of the vault.')
output name string = vault.name

@description('URL of the vault.')
output uri string = vault.properties.vaultUri
