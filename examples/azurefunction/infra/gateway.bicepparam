using './gateway.bicep'

// From the outputs of main.bicep in both regions; see README.md.
param prefix = 'lkgate'
param regions = [
  { location: 'westeurope', openAiAccount: 'OPENAI_ACCOUNT_1', gatewaySubnet: 'GATEWAY_SUBNET_1' }
  { location: 'swedencentral', openAiAccount: 'OPENAI_ACCOUNT_2', gatewaySubnet: 'GATEWAY_SUBNET_2' }
]
param publisherEmail = 'you@example.com'
param callers = ['CLIENT_ID_1', 'CLIENT_ID_2']
param logWorkspace = 'LOG_WORKSPACE_1'

param primaryKey = readEnvironmentVariable('GATEWAY_PRIMARY_KEY')
param secondaryKey = readEnvironmentVariable('GATEWAY_SECONDARY_KEY')
