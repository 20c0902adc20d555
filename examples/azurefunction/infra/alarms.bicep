// Alarms and a workbook over what the functions log. Deploy it beside main.bicep:
//
//   az deployment group create -g latchkey -f infra/alarms.bicep -p prefix=lkone email=oncall@example.com
//
// Each rule reads lines of the handler in the workspace of main.bicep; README.md
// says what they mean. The names of the lines and of their members are those of
// package middleware and of main.go, which a test holds against this file.

@description('The prefix that main.bicep was deployed with.')
@maxLength(11)
param prefix string

param location string = resourceGroup().location

@description('Who hears of alarms.')
param email string

@description('What a million input tokens cost, in the currency of maxSpendPerHour.')
param priceInput string = '0'

@description('What a million output tokens cost.')
param priceOutput string = '0'

@description('Above it an alarm goes off; it needs the prices.')
param maxSpendPerHour int = 10

resource logs 'Microsoft.OperationalInsights/workspaces@2026-03-01' existing = {
  name: '${prefix}-logs'
}

resource oncall 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${prefix}-oncall'
  location: 'global'
  properties: {
    groupShortName: 'latchkey'
    enabled: true
    emailReceivers: [
      { name: 'oncall', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

var lines = 'AppTraces | extend line = parse_json(Message) | where isnotempty(line.msg)'

var rules = [
  {
    name: 'rejections'
    description: 'The credential is rejected, or cannot be read, and stays so.'
    query: '${lines} | where line.msg in ("credential rejected", "credential failed")'
    window: 'PT5M'
    failing: 3 // a rotation rejects once
  }
  {
    name: 'failed-calls'
    description: 'Invocations fail.'
    query: '${lines} | where line.msg in ("not answered", "not summarized") | summarize n = count() | where n >= 5'
    window: 'PT5M'
    failing: 1
  }
  {
    name: 'old-version'
    description: 'A version of the gateway key is sent five minutes after another one was.'
    query: '${lines} | where line.msg == "openai request" and isnotempty(line.gateway_version) | summarize last = max(TimeGenerated), first = min(TimeGenerated) by version = tostring(line.gateway_version) | summarize versions = count(), newest = max(first), oldest = min(last) | where versions > 1 and oldest > newest + 5m'
    window: 'PT30M'
    failing: 1
  }
  {
    name: 'spend'
    description: 'The calls of an hour cost more than maxSpendPerHour.'
    query: '${lines} | where line.msg == "openai request" | summarize spend = (sum(todouble(line.input_tokens)) * ${priceInput} + sum(todouble(line.output_tokens)) * ${priceOutput}) / 1e6 | where spend > ${maxSpendPerHour}'
    window: 'PT1H'
    failing: 1
  }
  {
    name: 'expiry'
    description: 'The gateway key expires soon, and there is no other one.'
    query: '${lines} | where line.msg == "credential expiring"'
    window: 'P1D'
    failing: 1
  }
]

resource alarms 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [for rule in rules: {
  name: '${prefix}-${rule.name}'
  location: location
  kind: 'LogAlert'
  properties: {
    description: rule.description
    severity: 2
    enabled: true
    scopes: [logs.id]
    evaluationFrequency: rule.window == 'P1D' ? 'PT1H' : 'PT5M'
    windowSize: rule.window
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: { numberOfEvaluationPeriods: rule.failing, minFailingPeriodsToAlert: rule.failing }
        }
      ]
    }
    autoMitigate: true
    actions: { actionGroups: [oncall.id] }
  }
}]

// The late rotation of a key in Key Vault is told by its expiry: 'expiry' above, and
// Event Grid's SecretNearExpiry for who rotates it.

var charts = [
  {
    title: 'Sends by status'
    query: '${lines} | where line.msg == "openai request" | summarize count() by bin(TimeGenerated, 5m), tostring(line.status)'
  }
  {
    title: 'Tokens'
    query: '${lines} | where line.msg == "openai request" | summarize sum(tolong(line.input_tokens)), sum(tolong(line.output_tokens)) by bin(TimeGenerated, 5m)'
  }
  {
    title: 'Sends by version of the gateway key'
    query: '${lines} | where line.msg == "openai request" | summarize count() by bin(TimeGenerated, 5m), tostring(line.gateway_version)'
  }
  {
    title: 'What happened to credentials'
    query: '${lines} | where line.msg startswith "credential " | summarize count() by bin(TimeGenerated, 5m), tostring(line.msg)'
  }
]

var items = [for chart in charts: {
  type: 3
  name: chart.title
  content: {
    version: 'KqlItem/1.0'
    title: chart.title
    query: chart.query
    size: 0
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    visualization: 'timechart'
    timeContext: { durationMs: 86400000 }
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, prefix, 'latchkey')
  location: location
  kind: 'shared'
  properties: {
    displayName: '${prefix}: calls, tokens, credentials'
    category: 'workbook'
    sourceId: logs.id
    serializedData: string({ version: 'Notebook/1.0', items: items })
  }
}
