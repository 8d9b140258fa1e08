metadata name = 'Alerts'
metadata description = 'Optional: rules over the logs that write to an address when the catalog is down, a backup fails or is too old, or refusals are many.'

@description('Required. Beginning of the rules\' names.')
param namePrefix string

@description('Required. Name of the action group.')
param actionGroupName string

@description('Required. Region.')
param location string

@description('Required. Tags.')
param tags object

@description('Required. Address to write to.')
param email string

@description('Required. Resource id of the Log Analytics workspace.')
param workspaceId string

@description('Required. Name of the catalog app.')
param catalogAppName string

@description('Required. Name of the query app.')
param queryAppName string

@description('Optional. Refusals in 15 minutes from which they are many.')
@minValue(1)
param refusals int = 100

// The messages are those of azquack's own log lines, which are JSON.
var rules = [
  {
    name: 'catalog-down'
    description: 'The catalog did not pass its probes or was restarted, again and again for five minutes.'
    severity: 0
    window: 'PT5M'
    operator: 'GreaterThan'
    threshold: 5
    query: 'ContainerAppSystemLogs_CL | where ContainerAppName_s == "${catalogAppName}" | where Reason_s in ("ProbeFailed", "ContainerTerminated", "ContainerBackOff", "BackOff", "Error")'
  }
  {
    name: 'backup-failed'
    description: 'The catalog could not be backed up: the newest backup grows older than it should.'
    severity: 1
    window: 'PT15M'
    operator: 'GreaterThan'
    threshold: 0
    query: 'ContainerAppConsoleLogs_CL | where ContainerAppName_s == "${catalogAppName}" | extend line = parse_json(Log_s) | where line.message == "the backup failed"'
  }
  {
    name: 'backup-too-old'
    description: 'For three hours nobody said that the newest backup is fresh: a loss of the catalog would cost more than that.'
    severity: 1
    window: 'PT3H'
    operator: 'LessThan'
    threshold: 1
    // Said with every backup, and once an hour while nothing changes.
    query: 'ContainerAppConsoleLogs_CL | where ContainerAppName_s == "${catalogAppName}" | extend line = parse_json(Log_s) | where line.message in ("backed up", "the newest backup holds everything")'
  }
  {
    name: 'refusals'
    description: 'The gateway refused much: somebody guesses tokens, or a client is set up wrong.'
    severity: 2
    window: 'PT15M'
    operator: 'GreaterThan'
    threshold: refusals
    query: 'ContainerAppConsoleLogs_CL | where ContainerAppName_s == "${queryAppName}" | extend line = parse_json(Log_s) | where line.outcome == "refused"'
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'azquack'
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in rules: {
    name: '${namePrefix}${rule.name}'
    location: location
    tags: tags
    properties: {
      displayName: 'AzQuack ${rule.name}'
      description: rule.description
      enabled: true
      severity: rule.severity
      scopes: [
        workspaceId
      ]
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      // The tables come into being with the first line that an app writes.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: rule.operator
            threshold: rule.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [
          actionGroup.id
        ]
      }
    }
  }
]
