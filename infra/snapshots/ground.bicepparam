// The ground as it is without any choice.
using '../main.bicep'

param environmentName = 'mylake'
param location = 'westeurope'
param operatorPrincipalId = '00000000-0000-0000-0000-00000000000a'
