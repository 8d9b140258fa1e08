metadata name = 'Job'
metadata description = 'A run of one azquack command, by a schedule or on demand: it comes as a replica\'s identity, does its work and ends.'

@description('Required. Name of the job.')
@minLength(2)
@maxLength(32)
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Resource id of the Container Apps environment.')
param environmentId string

@description('Required. Resource id of the identity that the job has.')
param identityId string

@description('Required. Host name of the registry.')
param registryServer string

@description('Required. Image, with its registry and tag.')
param image string

@description('Required. Settings of the run, as name and value pairs.')
param settings array

@description('Required. The command and its arguments.')
param arguments array

@description('Optional. When it runs: a cron expression, in UTC. Empty: when somebody starts it.')
param schedule string = ''

@description('Optional. Mount the catalog\'s share.')
param withCatalog bool = false

var once = {
  parallelism: 1
  replicaCompletionCount: 1
}

var scratchVolume = [
  { name: 'scratch', storageType: 'EmptyDir' }
]

// As the catalog app mounts it: container-app.bicep says why.
var sharedVolume = [
  {
    name: 'shared'
    storageType: 'AzureFile'
    storageName: 'catalog'
    mountOptions: 'uid=1000,gid=1000,dir_mode=0700,file_mode=0600,nobrl'
  }
]

var scratchMount = [
  { volumeName: 'scratch', mountPath: '/tmp' }
]

var sharedMount = [
  { volumeName: 'shared', mountPath: '/catalog' }
]

resource job 'Microsoft.App/jobs@2026-01-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      triggerType: empty(schedule) ? 'Manual' : 'Schedule'
      replicaTimeout: 7200
      // A run that fails is looked at, not repeated: the next one starts from what this one left.
      replicaRetryLimit: 0
      manualTriggerConfig: empty(schedule) ? once : null
      scheduleTriggerConfig: empty(schedule) ? null : union(once, { cronExpression: schedule })
      registries: [
        {
          server: registryServer
          identity: identityId
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'azquack'
          image: image
          args: arguments
          env: settings
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: concat(scratchMount, withCatalog ? sharedMount : [])
        }
      ]
      volumes: concat(scratchVolume, withCatalog ? sharedVolume : [])
    }
  }
}

@description('Name of the job.')
output name string = job.name
