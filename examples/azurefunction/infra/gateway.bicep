// API Management in two regions in front of two Azure OpenAI resources, and
// Front Door in front of both. A caller needs a token of the tenant and a
// subscription key; API Management calls Azure OpenAI by its own identity.
//
//   az deployment group create -g GROUP -n gateway -p gateway.bicepparam
//
// Deploy main.bicep once per region before; its outputs are the parameters. The keys
// come from the environment, never from a command line. README.md says how to make,
// publish and rotate them.

@description('Begins the names of all resources: 3 to 11 lower-case letters and digits, a letter first.')
@minLength(3)
@maxLength(11)
param prefix string

@description('Two regions, each with the outputs of main.bicep there.')
@minLength(2)
@maxLength(2)
param regions {
  location: string
  openAiAccount: string
  gatewaySubnet: string
}[]

@description('Who is told of changes to API Management.')
param publisherEmail string
param publisherName string = 'latchkey'

@description('The client ids of the identities that may call: those of the function apps.')
@minLength(1)
param callers string[]

@description('The output logWorkspace of main.bicep in one of the regions.')
param logWorkspace string

param tokensPerMinute int = 20000

@description('The two keys of the subscription, the same in both regions: Front Door may choose either.')
@secure()
@minLength(32)
param primaryKey string

@secure()
@minLength(32)
param secondaryKey string

var suffix = uniqueString(resourceGroup().id, prefix)
var openAiUser = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd' // Cognitive Services OpenAI User
var callerIds = join(map(callers, id => '<application-id>${id}</application-id>'), '')

resource accounts 'Microsoft.CognitiveServices/accounts@2026-07-01' existing = [for r in regions: {
  name: r.openAiAccount
}]

// ---- Front Door, which only API Management's instances are behind

resource door 'Microsoft.Cdn/profiles@2026-07-01' = {
  name: '${prefix}-door'
  location: 'global'
  sku: { name: 'Premium_AzureFrontDoor' }
  properties: {
    originResponseTimeoutSeconds: 240 // a model may think for long
  }
}

resource doorEndpoint 'Microsoft.Cdn/profiles/afdEndpoints@2026-07-01' = {
  parent: door
  name: '${prefix}-${suffix}'
  location: 'global'
  properties: { enabledState: 'Enabled' }
}

resource origins 'Microsoft.Cdn/profiles/originGroups@2026-07-01' = {
  parent: door
  name: 'gateways'
  properties: {
    loadBalancingSettings: { sampleSize: 4, successfulSamplesRequired: 3, additionalLatencyInMilliseconds: 50 }
    healthProbeSettings: {
      probePath: '/status-0123456789abcdef' // API Management's own
      probeRequestType: 'GET'
      probeProtocol: 'Https'
      probeIntervalInSeconds: 30
    }
    sessionAffinityState: 'Disabled'
  }
}

resource origin 'Microsoft.Cdn/profiles/originGroups/origins@2026-07-01' = [for (r, i) in regions: {
  parent: origins
  name: r.location
  properties: {
    hostName: replace(gateways[i].properties.gatewayUrl, 'https://', '')
    originHostHeader: replace(gateways[i].properties.gatewayUrl, 'https://', '')
    httpsPort: 443
    priority: i + 1
    weight: 1000
    enforceCertificateNameCheck: true
    enabledState: 'Enabled'
  }
}]

resource route 'Microsoft.Cdn/profiles/afdEndpoints/routes@2026-07-01' = {
  parent: doorEndpoint
  name: 'openai'
  properties: {
    originGroup: { id: origins.id }
    patternsToMatch: ['/openai/*']
    supportedProtocols: ['Https']
    forwardingProtocol: 'HttpsOnly'
    httpsRedirect: 'Disabled'
    linkToDefaultDomain: 'Enabled'
  }
  dependsOn: [origin]
}

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2026-04-01' = {
  name: '${prefix}${suffix}'
  location: 'global'
  sku: { name: 'Premium_AzureFrontDoor' }
  properties: {
    policySettings: { mode: 'Prevention', enabledState: 'Enabled', requestBodyCheck: 'Disabled' } // prompts look like attacks
    managedRules: {
      managedRuleSets: [{ ruleSetType: 'Microsoft_BotManagerRuleSet', ruleSetVersion: '1.1' }]
    }
    customRules: {
      rules: [
        {
          name: 'perCaller'
          priority: 1
          enabledState: 'Enabled'
          ruleType: 'RateLimitRule'
          rateLimitDurationInMinutes: 1
          rateLimitThreshold: 1000
          action: 'Block'
          matchConditions: [
            { matchVariable: 'RequestUri', operator: 'Contains', matchValue: ['/openai/'] }
          ]
        }
      ]
    }
  }
}

resource protection 'Microsoft.Cdn/profiles/securityPolicies@2026-07-01' = {
  parent: door
  name: 'firewall'
  properties: {
    parameters: {
      type: 'WebApplicationFirewall'
      wafPolicy: { id: firewall.id }
      associations: [
        {
          domains: [{ id: doorEndpoint.id }]
          patternsToMatch: ['/*']
        }
      ]
    }
  }
}

// A version that is no preview has neither name nor categoryGroup.
#disable-next-line use-recent-api-versions
resource doorDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-logs'
  scope: door
  properties: {
    workspaceId: logWorkspace
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

// ---- API Management, one instance per region

resource gateways 'Microsoft.ApiManagement/service@2024-05-01' = [for r in regions: {
  name: '${prefix}-${take(uniqueString(suffix, r.location), 6)}'
  location: r.location
  sku: { name: 'StandardV2', capacity: 1 }
  identity: { type: 'SystemAssigned' }
  properties: {
    publisherEmail: publisherEmail
    publisherName: publisherName
    virtualNetworkType: 'External' // inbound by Front Door, outbound by the subnet to the private endpoints
    virtualNetworkConfiguration: { subnetResourceId: r.gatewaySubnet }
    publicNetworkAccess: 'Enabled'
  }
}]

resource mayAsk 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (r, i) in regions: {
  name: guid(resourceGroup().id, r.openAiAccount, gateways[i].id, openAiUser)
  scope: accounts[i]
  properties: {
    principalId: gateways[i].identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', openAiUser)
  }
}]

resource backends 'Microsoft.ApiManagement/service/backends@2024-05-01' = [for (r, i) in regions: {
  parent: gateways[i]
  name: 'openai'
  properties: {
    protocol: 'http'
    url: '${accounts[i].properties.endpoint}openai/v1'
    circuitBreaker: {
      rules: [
        {
          name: 'throttled-or-down'
          failureCondition: {
            count: 3
            interval: 'PT1M'
            statusCodeRanges: [
              { min: 429, max: 429 }
              { min: 500, max: 599 }
            ]
          }
          tripDuration: 'PT1M'
          acceptRetryAfter: true
        }
      ]
    }
  }
}]

resource apis 'Microsoft.ApiManagement/service/apis@2024-05-01' = [for (r, i) in regions: {
  parent: gateways[i]
  name: 'openai'
  properties: {
    displayName: 'Azure OpenAI'
    path: 'openai/v1'
    protocols: ['https']
    subscriptionRequired: true
    subscriptionKeyParameterNames: { header: 'Ocp-Apim-Subscription-Key', query: 'subscription-key' }
    serviceUrl: '${accounts[i].properties.endpoint}openai/v1'
  }
}]

var methods = ['GET', 'POST', 'DELETE']

resource operations 'Microsoft.ApiManagement/service/apis/operations@2024-05-01' = [for n in range(0, length(regions) * length(methods)): {
  parent: apis[n / length(methods)]
  name: toLower(methods[n % length(methods)])
  properties: {
    displayName: methods[n % length(methods)]
    method: methods[n % length(methods)]
    urlTemplate: '/*'
  }
}]

// In order: only Front Door, only callers with a token, by their own share, and
// then API Management's own token. buffer-response="false" lets streams through.
resource policies 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = [for (r, i) in regions: {
  parent: apis[i]
  name: 'policy'
  properties: {
    format: 'rawxml'
    value: replace(replace(replace(replace('''
<policies>
  <inbound>
    <base />
    <check-header name="X-Azure-FDID" failed-check-httpcode="403" failed-check-error-message="Not through Front Door." ignore-case="true">
      <value>FRONT_DOOR_ID</value>
    </check-header>
    <validate-azure-ad-token tenant-id="TENANT_ID" header-name="Authorization" failed-validation-httpcode="401">
      <client-application-ids>CALLER_IDS</client-application-ids>
      <audiences><audience>https://cognitiveservices.azure.com</audience></audiences>
    </validate-azure-ad-token>
    <llm-token-limit counter-key="@(context.Subscription.Id)" tokens-per-minute="TOKENS" estimate-prompt-tokens="false"
      remaining-tokens-header-name="x-ratelimit-remaining-tokens" retry-after-header-name="retry-after" />
    <set-header name="Ocp-Apim-Subscription-Key" exists-action="delete" />
    <set-header name="api-key" exists-action="delete" />
    <authentication-managed-identity resource="https://cognitiveservices.azure.com" />
    <set-backend-service backend-id="openai" />
  </inbound>
  <backend>
    <forward-request timeout="240" buffer-response="false" />
  </backend>
  <outbound><base /></outbound>
  <on-error><base /></on-error>
</policies>
''', 'FRONT_DOOR_ID', door.properties.frontDoorId), 'TENANT_ID', tenant().tenantId), 'CALLER_IDS', callerIds), 'TOKENS', string(tokensPerMinute))
  }
  dependsOn: [backends]
}]

resource callersSubscription 'Microsoft.ApiManagement/service/subscriptions@2024-05-01' = [for (r, i) in regions: {
  parent: gateways[i]
  name: 'functions'
  properties: {
    displayName: 'The function apps'
    scope: apis[i].id
    state: 'active'
    primaryKey: primaryKey
    secondaryKey: secondaryKey
  }
}]

// A version that is no preview has neither name nor categoryGroup.
#disable-next-line use-recent-api-versions
resource gatewayDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = [for (r, i) in regions: {
  name: 'to-logs'
  scope: gateways[i]
  properties: {
    workspaceId: logWorkspace
    logs: [{ category: 'GatewayLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}]

output endpoint string = 'https://${doorEndpoint.properties.hostName}/'
output gateways string[] = [for (r, i) in regions: gateways[i].name]
