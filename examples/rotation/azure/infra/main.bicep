// A function that rotates the key of an Azure OpenAI resource and keeps it in Key Vault,
// with no right that it does not need. The resource and the vault are there before, in
// the same group; the vault has to use roles (enableRbacAuthorization).
//
//   az deployment group create -g GROUP -f main.bicep -p prefix=lkrot accountName=ACCOUNT vaultName=VAULT email=oncall@example.com

@description('Begins the names of all resources: 3 to 11 lower-case letters and digits, a letter first.')
@minLength(3)
@maxLength(11)
param prefix string

param location string = resourceGroup().location

@description('The Azure OpenAI resource whose keys are rotated. Its keys have to be switched on (disableLocalAuth false).')
param accountName string

@description('The vault.')
param vaultName string

@description('The secret of readers. The journal of the rotation is beside it, with -rotation at the end of its name.')
param secretName string = 'openai-key'

@description('The principals that read the key: object ids of managed identities. Not that of this function.')
param readers string[] = []

@description('How long a key is current, in days. The secret expires 30 days later.')
@minValue(2)
param everyDays int = 30

@description('Whether Event Grid starts a rotation when the secret expires soon. The function has to be published before.')
param withEvents bool = false

@description('The subnet through which the function reaches a vault that is closed to others; empty is the public way.')
param subnetId string = ''

@description('Who hears of rotations that fail or are late.')
param email string

param planSku string = 'P0v3'

var suffix = uniqueString(resourceGroup().id, prefix)
var names = {
  storage: take('${prefix}${suffix}', 24)
  app: '${prefix}-rotate-${suffix}'
}

// Role definitions: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roles = {
  secretsUser: '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
  blobOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
  queueContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
  tableContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher
}

resource account 'Microsoft.CognitiveServices/accounts@2026-07-01' existing = {
  name: accountName
}

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' existing = {
  name: vaultName

  resource key 'secrets' existing = { name: secretName }
  resource journal 'secrets' existing = { name: '${secretName}-rotation' }
}

// ---- what may be done, and by whom

resource keyRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, prefix, 'keys')
  properties: {
    roleName: '${prefix} rotates keys ${suffix}'
    type: 'customRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.CognitiveServices/accounts/listKeys/action'
          'Microsoft.CognitiveServices/accounts/regenerateKey/action'
        ]
      }
    ]
  }
}

resource secretRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, prefix, 'secrets')
  properties: {
    roleName: '${prefix} rotates secrets ${suffix}'
    type: 'customRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        dataActions: [
          'Microsoft.KeyVault/vaults/secrets/getSecret/action'
          'Microsoft.KeyVault/vaults/secrets/setSecret/action'
          'Microsoft.KeyVault/vaults/secrets/readMetadata/action'
        ]
      }
    ]
  }
}

resource mayRegenerate 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, app.id, 'keys')
  scope: account
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: keyRole.id
  }
}

resource mayPublish 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::key.id, app.id, 'secrets')
  scope: vault::key
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretRole.id
  }
}

resource mayKeepState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::journal.id, app.id, 'secrets')
  scope: vault::journal
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretRole.id
  }
}

// Readers have the one secret, and not the journal with the pending and previous keys.
resource mayRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  name: guid(vault::key.id, reader, roles.secretsUser)
  scope: vault::key
  properties: {
    principalId: reader
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secretsUser)
  }
}]

// ---- the function

resource logs 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: '${prefix}-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 90
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${prefix}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
    DisableLocalAuth: true
  }
}

resource storage 'Microsoft.Storage/storageAccounts@2026-06-01' = {
  name: names.storage
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_ZRS' }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: '${prefix}-plan'
  location: location
  kind: 'linux'
  sku: { name: planSku, capacity: 1 }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: names.app
  location: location
  kind: 'functionapp,linux'
  identity: { type: 'SystemAssigned' }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    outboundVnetRouting: { allTraffic: !empty(subnetId) }
    siteConfig: {
      linuxFxVersion: ''
      alwaysOn: true
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      appSettings: [
        { name: 'FUNCTIONS_EXTENSION_VERSION', value: '~4' }
        { name: 'FUNCTIONS_WORKER_RUNTIME', value: 'custom' }
        { name: 'WEBSITE_RUN_FROM_PACKAGE', value: '1' }
        { name: 'AzureWebJobsStorage__accountName', value: storage.name }
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'Authorization=AAD' }
        { name: 'AZURE_TOKEN_CREDENTIALS', value: 'prod' }
        { name: 'VAULT_URL', value: vault.properties.vaultUri }
        { name: 'SECRET_NAME', value: secretName }
        { name: 'OPENAI_RESOURCE_ID', value: account.id }
        { name: 'ROTATE_EVERY', value: '${everyDays * 24}h' }
      ]
    }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }
  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
}

// https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity
resource mayStore 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in [roles.blobOwner, roles.queueContributor, roles.tableContributor]: {
  name: guid(storage.id, app.id, role)
  scope: storage
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

resource mayReport 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, app.id, roles.metricsPublisher)
  scope: insights
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metricsPublisher)
  }
}

// ---- the event; the timer does without it

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (withEvents) {
  name: '${prefix}-vault'
  location: location
  identity: { type: 'SystemAssigned' }
  properties: {
    source: vault.id
    topicType: 'Microsoft.KeyVault.vaults'
  }

  resource nearExpiry 'eventSubscriptions' = {
    name: 'near-expiry'
    properties: {
      destination: {
        endpointType: 'AzureFunction'
        properties: {
          resourceId: '${app.id}/functions/nearexpiry'
          maxEventsPerBatch: 1
        }
      }
      filter: {
        includedEventTypes: ['Microsoft.KeyVault.SecretNearExpiry', 'Microsoft.KeyVault.SecretExpired']
        subjectBeginsWith: secretName
      }
      eventDeliverySchema: 'CloudEventSchemaV1_0'
      retryPolicy: { maxDeliveryAttempts: 30, eventTimeToLiveInMinutes: 1440 }
    }
  }
}

// ---- alarms

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
    name: 'rotation-failed'
    description: 'Runs have failed twice in six hours: readers go on with the key that they have.'
    query: '${lines} | where line.msg == "rotation failed" and line.step == "end" | summarize n = count() | where n >= 2'
  }
  {
    name: 'rotation-late'
    description: 'No run has done what was due for six hours.'
    query: '${lines} | where line.msg == "rotation run" | summarize n = count() | where n == 0'
  }
  {
    name: 'key-not-revoked'
    description: 'A key that somebody had put into the vault was replaced, and has to be revoked by hand.'
    query: '${lines} | where line.msg == "rotation run" and isnotempty(line.unrevoked)'
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
    evaluationFrequency: 'PT1H'
    windowSize: 'PT6H'
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    autoMitigate: true
    actions: { actionGroups: [oncall.id] }
  }
}]

output functionApp string = app.name
output secretUrl string = '${vault.properties.vaultUri}secrets/${secretName}'
