metadata name = 'Container app'
metadata description = 'One replica of AzQuack as a container app: the image, its settings, its gateway behind the ingress, its sidecar behind the probes.'

@description('Required. Name of the app.')
@minLength(2)
@maxLength(32)
param name string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Resource id of the Container Apps environment.')
param environmentId string

@description('Required. Resource id of the identity that the app has.')
param identityId string

@description('Required. Host name of the registry.')
param registryServer string

@description('Required. Image, with its registry and tag.')
param image string

@description('Required. What the replica is.')
@allowed(['catalog', 'query'])
param role string

@description('Required. Settings of the replica, as name and value pairs.')
param settings array

@description('Required. Let the app be reached from outside the environment.')
param external bool

@description('Optional. What the ingress speaks: http with TLS before it, or plain tcp inside the environment.')
@allowed(['http', 'tcp'])
param transport string = 'http'

@description('Optional. Port that the ingress leads to. 0: the gateway\'s.')
param targetPort int = 0

@description('Optional. Address ranges that may reach the app. Empty: every one that the ingress lets in.')
param allowedAddresses array = []

@description('Optional. Domain of the app besides the platform\'s. Empty: none.')
param customDomain string = ''

@description('Optional. Resource id of the certificate for that domain, in the environment.')
param certificateId string = ''

@description('Optional. Cores; the memory is two gigabytes for each.')
@allowed(['0.25', '0.5', '0.75', '1', '1.5', '2', '4'])
param cpu string = '0.5'

@description('Optional. Storage of the environment to mount. Empty: none.')
param storageName string = ''

@description('Optional. Where to mount it.')
param mountPath string = ''

@description('Optional. Port of the gateway.')
param port int = 9494

@description('Optional. Port of the sidecar, which no ingress leads to.')
param httpPort int = 8080

@description('Optional. Seconds that a start may take, waiting for others. The startup probe allows 300.')
@minValue(10)
@maxValue(280)
param startTimeout int = 240

@description('Optional. Addresses of the environment\'s ingress, whose word on a client\'s address is taken.')
param ingressAddresses string = '100.64.0.0/10'

// What the platform gives with these cores: memory, and disk outside of mounted shares.
var sizes = {
  '0.25': { memory: '0.5Gi', spill: '512MB' }
  '0.5': { memory: '1Gi', spill: '1GB' }
  '0.75': { memory: '1.5Gi', spill: '2GB' }
  '1': { memory: '2Gi', spill: '2GB' }
  '1.5': { memory: '3Gi', spill: '6GB' }
  '2': { memory: '4Gi', spill: '6GB' }
  '4': { memory: '8Gi', spill: '6GB' }
}

var ownSettings = [
  { name: 'AZQUACK_ROLE', value: role }
  { name: 'AZQUACK_HOST', value: '0.0.0.0' }
  { name: 'AZQUACK_PORT', value: string(port) }
  { name: 'AZQUACK_HTTP_HOST', value: '0.0.0.0' }
  { name: 'AZQUACK_HTTP_PORT', value: string(httpPort) }
  // The ingress stands before every app and names the client: limits for an address count people, not it.
  { name: 'AZQUACK_TRUSTED_PROXIES', value: ingressAddresses }
  { name: 'AZQUACK_SPILL_LIMIT', value: sizes[cpu].spill }
  { name: 'AZQUACK_START_TIMEOUT', value: string(startTimeout) }
]

var scratchVolume = [
  { name: 'scratch', storageType: 'EmptyDir' }
]

// nobrl: byte-range locks stay in the client. SMB cannot be trusted with them and the lease decides who owns
// the file; without it DuckDB's own lock would outlive a crashed owner until the server times it out.
var sharedVolume = [
  {
    name: 'shared'
    storageType: 'AzureFile'
    storageName: storageName
    mountOptions: 'uid=1000,gid=1000,dir_mode=0700,file_mode=0600,nobrl'
  }
]

var scratchMount = [
  { volumeName: 'scratch', mountPath: '/tmp' }
]

var sharedMount = [
  { volumeName: 'shared', mountPath: mountPath }
]

var domains = [
  { name: customDomain, certificateId: certificateId, bindingType: 'SniEnabled' }
]

resource app 'Microsoft.App/containerApps@2026-01-01' = {
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
      activeRevisionsMode: 'Single'
      maxInactiveRevisions: 5
      registries: [
        {
          server: registryServer
          identity: identityId
        }
      ]
      ingress: {
        external: external
        targetPort: targetPort == 0 ? port : targetPort
        exposedPort: transport == 'tcp' ? targetPort : null
        // Quack is HTTP/1.1: 'auto' could pick HTTP/2, which no DuckDB speaks.
        transport: transport
        allowInsecure: false
        ipSecurityRestrictions: [
          for (addresses, i) in allowedAddresses: {
            name: 'allowed-${i}'
            action: 'Allow'
            ipAddressRange: addresses
          }
        ]
        customDomains: empty(customDomain) ? [] : domains
      }
    }
    template: {
      // Longer than the gateway's grace for running statements, the checkpoint and the last backup.
      terminationGracePeriodSeconds: 90
      containers: [
        {
          name: role
          image: image
          env: concat(ownSettings, settings)
          resources: {
            cpu: json(cpu)
            memory: sizes[cpu].memory
          }
          probes: [
            {
              type: 'Startup'
              httpGet: { path: '/healthz', port: httpPort }
              // Container Apps counts to ten at most. A start takes as long as `startTimeout`, and the sidecar
              // answers from its first second; this is for one that cannot even do that.
              periodSeconds: 30
              timeoutSeconds: 5
              failureThreshold: 10
            }
            {
              type: 'Liveness'
              httpGet: { path: '/healthz', port: httpPort }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 6
            }
            {
              type: 'Readiness'
              httpGet: { path: '/readyz', port: httpPort }
              periodSeconds: 5
              timeoutSeconds: 5
              failureThreshold: 3
            }
          ]
          volumeMounts: concat(scratchMount, empty(storageName) ? [] : sharedMount)
        }
      ]
      volumes: concat(scratchVolume, empty(storageName) ? [] : sharedVolume)
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
    }
  }
}

@description('Name of the app.')
output name string = app.name

@description('Host name under which the app is reached on port 443.')
output fqdn string = app.properties.configuration.ingress.fqdn
