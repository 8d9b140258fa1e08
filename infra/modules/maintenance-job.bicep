metadata name = 'Maintenance job'
metadata description = 'A scheduled run of `azquack maintain`: it comes as a query replica\'s identity, does its work and ends.'

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

@description('Optional. When it runs: a cron expression, in UTC.')
param schedule string = '17 3 * * *'

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
      triggerType: 'Schedule'
      replicaTimeout: 7200
      // A run that fails is looked at, not repeated: the next one starts from what this one left.
      replicaRetryLimit: 0
      scheduleTriggerConfig: {
        cronExpression: schedule
        parallelism: 1
        replicaCompletionCount: 1
      }
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
          name: 'maintain'
          image: image
          args: [
            'maintain'
          ]
          env: settings
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: [
            { volumeName: 'scratch', mountPath: '/tmp' }
          ]
        }
      ]
      volumes: [
        { name: 'scratch', storageType: 'EmptyDir' }
      ]
    }
  }
}

@description('Name of the job.')
output name string = job.name
