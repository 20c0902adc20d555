// An Azure Function that calls Azure OpenAI by its identity, with the network
// closed: no key, no connection string, no public endpoint of a store.
//
//   az deployment group create -g GROUP -f main.bicep -p prefix=latchkey
//
// Deploy it once per region for gateway.bicep, with another prefix.

@description('Begins the names of all resources: 3 to 11 lower-case letters and digits, a letter first.')
@minLength(3)
@maxLength(11)
param prefix string

param location string = resourceGroup().location

@description('The model and its deployment. The deployment has the name of the model.')
param modelName string = 'gpt-5-mini'
param modelVersion string = '2025-08-07'

@description('GlobalStandard may process a call in any region; choose DataZoneStandard or Standard to stay.')
param modelSku string = 'GlobalStandard'

@description('Thousands of tokens per minute.')
param modelCapacity int = 20

@description('The App Service plan. Zone redundancy needs three instances.')
param planSku string = 'P0v3'
param planInstances int = 1

@description('What the function calls. Empty is the resource of this file; with gateway.bicep it is the address of Front Door.')
param openAiEndpoint string = ''

@description('The URL of the secret with the subscription key of API Management, https://VAULT/secrets/NAME in the vault of this file; empty without a gateway. The secret has to be there before.')
param subscriptionKeyUrl string = ''

@description('Whether to bring back the vault of a deployment that was deleted within the last 90 days. For that one deployment only.')
param recoverVault bool = false

param logRetentionDays int = 90

var subscriptionKeyName = empty(subscriptionKeyUrl) ? 'none' : split(subscriptionKeyUrl, '/')[4]

var suffix = uniqueString(resourceGroup().id, prefix)
var names = {
  account: '${prefix}-openai-${suffix}'
  vault: take('${prefix}-${suffix}', 24)
  storage: take('${prefix}${suffix}', 24)
  app: '${prefix}-func-${suffix}'
}

// Role definitions: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roles = {
  openAiUser: '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd' // Cognitive Services OpenAI User
  secretsUser: '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
  blobOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
  queueContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
  tableContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher
}

// ---- network

resource endpointsGroup 'Microsoft.Network/networkSecurityGroups@2026-03-01' = {
  name: '${prefix}-endpoints'
  location: location
  properties: {
    securityRules: [
      {
        name: 'https-from-the-network'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' = {
  name: '${prefix}-network'
  location: location
  properties: {
    addressSpace: { addressPrefixes: ['10.20.0.0/16'] }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.20.0.0/24'
          delegations: [
            {
              name: 'app-service'
              properties: { serviceName: 'Microsoft.Web/serverFarms' }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '10.20.1.0/24'
          privateEndpointNetworkPolicies: 'Enabled'
          networkSecurityGroup: { id: endpointsGroup.id }
        }
      }
      {
        name: 'gateway'
        properties: {
          addressPrefix: '10.20.2.0/24'
          networkSecurityGroup: { id: gatewayGroup.id }
          delegations: [
            {
              name: 'app-service'
              properties: { serviceName: 'Microsoft.Web/serverFarms' }
            }
          ]
        }
      }
    ]
  }

  resource functions 'subnets' existing = { name: 'functions' }
  resource endpoints 'subnets' existing = { name: 'endpoints' }
  resource gateway 'subnets' existing = { name: 'gateway' }
}

// For the outbound traffic of API Management, Standard v2.
resource gatewayGroup 'Microsoft.Network/networkSecurityGroups@2026-03-01' = {
  name: '${prefix}-gateway'
  location: location
}

var zones = [
  'privatelink.openai.azure.com'
  'privatelink.vaultcore.azure.net'
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.queue.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
]

resource dns 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zones: {
  name: zone
  location: 'global'
}]

resource dnsLinks 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, i) in zones: {
  parent: dns[i]
  name: '${prefix}-link'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: network.id }
  }
}]

var endpoints = [
  { name: 'openai', id: account.id, group: 'account', zone: 0 }
  { name: 'vault', id: vault.id, group: 'vault', zone: 1 }
  { name: 'blob', id: storage.id, group: 'blob', zone: 2 }
  { name: 'queue', id: storage.id, group: 'queue', zone: 3 }
  { name: 'table', id: storage.id, group: 'table', zone: 4 }
]

// One after the other: an account refuses a second change while one is under way.
@batchSize(1)
resource privateEndpoints 'Microsoft.Network/privateEndpoints@2026-03-01' = [for e in endpoints: {
  name: '${prefix}-${e.name}'
  location: location
  properties: {
    subnet: { id: network::endpoints.id }
    privateLinkServiceConnections: [
      {
        name: e.name
        properties: { privateLinkServiceId: e.id, groupIds: [e.group] }
      }
    ]
  }
  dependsOn: [model]
}]

resource privateEndpointZones 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2026-03-01' = [for (e, i) in endpoints: {
  parent: privateEndpoints[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: e.name
        properties: { privateDnsZoneId: dns[e.zone].id }
      }
    ]
  }
}]

// ---- what is observed

resource logs 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: '${prefix}-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: logRetentionDays
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
    DisableLocalAuth: true // telemetry comes with the app's identity
  }
}

// ---- Azure OpenAI: no keys, no public network

resource account 'Microsoft.CognitiveServices/accounts@2026-07-01' = {
  name: names.account
  location: location
  kind: 'OpenAI'
  sku: { name: 'S0' }
  identity: { type: 'SystemAssigned' }
  properties: {
    customSubDomainName: names.account // tokens need it
    disableLocalAuth: true
    publicNetworkAccess: 'Disabled'
    networkAcls: { defaultAction: 'Deny' }
  }
}

resource model 'Microsoft.CognitiveServices/accounts/deployments@2026-07-01' = {
  parent: account
  name: modelName
  sku: { name: modelSku, capacity: modelCapacity }
  properties: {
    model: { format: 'OpenAI', name: modelName, version: modelVersion }
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}

// A version that is no preview has neither name nor categoryGroup.
#disable-next-line use-recent-api-versions
resource accountDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-logs'
  scope: account
  properties: {
    workspaceId: logs.id
    logs: [
      { category: 'Audit', enabled: true }
      { category: 'RequestResponse', enabled: true } // metadata only, no prompts
    ]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

// ---- Key Vault: roles, no public network

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' = {
  name: names.vault
  location: location
  properties: {
    tenantId: tenant().tenantId
    createMode: recoverVault ? 'recover' : 'default'
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: 'Disabled'
    networkAcls: { defaultAction: 'Deny', bypass: 'None' }
  }

  resource subscriptionKey 'secrets' existing = { name: subscriptionKeyName }
}

// A version that is no preview has neither name nor categoryGroup.
#disable-next-line use-recent-api-versions
resource vaultDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-logs'
  scope: vault
  properties: {
    workspaceId: logs.id
    logs: [{ categoryGroup: 'audit', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

// ---- the function

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
    publicNetworkAccess: 'Disabled'
    networkAcls: { defaultAction: 'Deny', bypass: 'None' }
  }

  resource queues 'queueServices' = {
    name: 'default'

    resource texts 'queues' = { name: 'texts' }
    resource summaries 'queues' = { name: 'summaries' }
  }
}

// A version that is no preview has neither name nor categoryGroup.
#disable-next-line use-recent-api-versions
resource queueDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-logs'
  scope: storage::queues
  properties: {
    workspaceId: logs.id
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: '${prefix}-plan'
  location: location
  kind: 'linux'
  sku: { name: planSku, capacity: planInstances }
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
    virtualNetworkSubnetId: network::functions.id
    outboundVnetRouting: { allTraffic: true } // names and traffic of the private endpoints
    keyVaultReferenceIdentity: 'SystemAssigned'
    siteConfig: {
      linuxFxVersion: ''
      alwaysOn: true
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      appSettings: [
        { name: 'FUNCTIONS_EXTENSION_VERSION', value: '~4' }
        { name: 'FUNCTIONS_WORKER_RUNTIME', value: 'custom' }
        { name: 'WEBSITE_RUN_FROM_PACKAGE', value: '1' }
        { name: 'AzureWebJobsStorage__accountName', value: storage.name }
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'Authorization=AAD' }
        { name: 'AZURE_TOKEN_CREDENTIALS', value: 'prod' }
        { name: 'AZURE_OPENAI_ENDPOINT', value: empty(openAiEndpoint) ? account.properties.endpoint : openAiEndpoint }
        { name: 'AZURE_OPENAI_DEPLOYMENT', value: model.name }
        { name: 'SUBSCRIPTION_KEY_SECRET', value: subscriptionKeyUrl }
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

// A version that is no preview has neither name nor categoryGroup.
#disable-next-line use-recent-api-versions
resource appDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-logs'
  scope: app
  properties: {
    workspaceId: logs.id
    logs: [{ category: 'FunctionAppLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

// ---- what the function may do, and nothing more

resource mayAsk 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, app.id, roles.openAiUser)
  scope: account
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.openAiUser)
  }
}

// The one secret, where there is one.
resource mayReadTheKey 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(subscriptionKeyUrl)) {
  name: guid(vault.id, subscriptionKeyName, app.id, roles.secretsUser)
  scope: vault::subscriptionKey
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secretsUser)
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

output functionApp string = app.name
output functionHost string = app.properties.defaultHostName
output functionPrincipal string = app.identity.principalId
output openAiAccount string = account.name
output openAiEndpoint string = account.properties.endpoint
output keyVault string = vault.name
output gatewaySubnet string = network::gateway.id
output logWorkspace string = logs.id
