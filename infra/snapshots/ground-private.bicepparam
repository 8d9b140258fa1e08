// The ground with every choice: private network, zones, the catalog on SSD, a protected vault, and the first secrets.
using '../main.bicep'

param environmentName = 'mylake'
param location = 'westeurope'
param operatorPrincipalId = '00000000-0000-0000-0000-00000000000a'
param operatorPrincipalType = 'ServicePrincipal'
param publicToken = 'public'
param internalToken = 'internal'
param principals = '{"principals": []}'
param privateNetwork = true
param zoneRedundant = true
param premiumCatalog = true
param softDeleteDays = 30
param logRetentionDays = 90
param purgeProtection = true
