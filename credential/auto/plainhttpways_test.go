package auto_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

func waysOfAWS() map[string]way {
	client := func(url string) *secretsmanager.Client {
		return secretsmanager.New(secretsmanager.Options{Region: "eu-west-1", BaseEndpoint: aws.String(url), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("AKID", "CANARY", "CANARY")})
	}
	return map[string]way{
		"secret, AWS_ENDPOINT_URL": func(_ *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": s.url}, nil)
		},
		"secret, its own variable": func(_ *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL_SECRETS_MANAGER": s.url}, nil)
		},
		"secret, an address that nobody has": func(*testing.T, *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": public}, nil)
		},
		"secret, a profile": func(t *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_CONFIG_FILE": file(t, "[default]\nendpoint_url = "+s.url+"\n")}, nil)
		},
		"secret, a profile's services": func(t *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_CONFIG_FILE": file(t, "[default]\nservices = s\n[services s]\nsecrets_manager =\n  endpoint_url = "+s.url+"\n")}, nil)
		},
		"secret, 301": func(t *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": s.moved(t, 301)}, nil)
		},
		"secret, 307": func(t *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": s.moved(t, 307)}, nil)
		},
		"secret, 308": func(t *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": s.moved(t, 308)}, nil)
		},
		"secret, a transport": func(_ *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": s.url}, &awssecretsmanager.Options{Transport: &http.Transport{DisableKeepAlives: true}})
		},
		"secret, a transport that lies": func(_ *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": "http://localhost:1"}, &awssecretsmanager.Options{Transport: s.lies()})
		},
		"secret, a proxy": func(_ *testing.T, s *stranger) credential.Source {
			return secret(vars{"AWS_ENDPOINT_URL": public, "HTTP_PROXY": s.url}, nil)
		},
		"secret, a client": func(_ *testing.T, s *stranger) credential.Source {
			return secret(nil, &awssecretsmanager.Options{Client: client(s.url)})
		},
		"secret, a client, 307": func(t *testing.T, s *stranger) credential.Source {
			return secret(nil, &awssecretsmanager.Options{Client: client(s.moved(t, 307))})
		},
	}
}

// waysOfAWSIdentities are those of requests for AWS credentials.
func waysOfAWSIdentities() map[string]way {
	noKeys := vars{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_REGION": "eu-west-1"}
	keyless := func(more vars) vars {
		out := vars{}
		for _, m := range []vars{noKeys, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	return map[string]way{
		"STS": func(t *testing.T, s *stranger) credential.Source {
			return secret(keyless(vars{"AWS_ENDPOINT_URL_STS": s.url, "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": file(t, "CANARY")}), nil)
		},
		"STS, 307": func(t *testing.T, s *stranger) credential.Source {
			return secret(keyless(vars{"AWS_ENDPOINT_URL_STS": s.moved(t, 307), "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": file(t, "CANARY")}), nil)
		},
		"a container": func(_ *testing.T, s *stranger) credential.Source {
			return secret(keyless(vars{"AWS_CONTAINER_CREDENTIALS_FULL_URI": s.url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "CANARY"}), nil)
		},
		"a container, 307": func(t *testing.T, s *stranger) credential.Source {
			return secret(keyless(vars{"AWS_CONTAINER_CREDENTIALS_FULL_URI": s.moved(t, 307), "AWS_CONTAINER_AUTHORIZATION_TOKEN": "CANARY"}), nil)
		},
		"an instance": func(_ *testing.T, s *stranger) credential.Source {
			return secret(keyless(vars{"AWS_EC2_METADATA_SERVICE_ENDPOINT": s.url, "AWS_EC2_METADATA_DISABLED": ""}), nil)
		},
	}
}

func waysOfTheOtherAWS() map[string]way {
	return map[string]way{
		"parameter, AWS_ENDPOINT_URL": func(_ *testing.T, s *stranger) credential.Source {
			return parameter(vars{"AWS_ENDPOINT_URL": s.url}, nil)
		},
		"parameter, its own variable": func(_ *testing.T, s *stranger) credential.Source {
			return parameter(vars{"AWS_ENDPOINT_URL_SSM": s.url}, nil)
		},
		"parameter, 307": func(t *testing.T, s *stranger) credential.Source {
			return parameter(vars{"AWS_ENDPOINT_URL": s.moved(t, 307)}, nil)
		},
		"parameter, a transport that lies": func(_ *testing.T, s *stranger) credential.Source {
			return parameter(vars{"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, &awsparameterstore.Options{Transport: s.lies()})
		},
		"extension, a transport that lies": func(_ *testing.T, s *stranger) credential.Source {
			return amazon(nil, must(awsextension.New("prod/openai", &awsextension.Options{Transport: s.lies()})))
		},
		"extension, a proxy": func(_ *testing.T, s *stranger) credential.Source {
			return amazon(vars{"HTTP_PROXY": s.url, "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "1"}, must(awsextension.New("prod/openai", nil)))
		},
		"extension, 302": func(t *testing.T, s *stranger) credential.Source { return extensionAt(s.moved(t, 302)) },
		"extension, 307": func(t *testing.T, s *stranger) credential.Source { return extensionAt(s.moved(t, 307)) },
	}
}

func extensionAt(url string) credential.Source {
	return amazon(vars{"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": url[strings.LastIndex(url, ":")+1:]}, must(awsextension.New("prod/openai", nil)))
}

func waysOfAzure() map[string]way {
	principal := vars{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.Tenant, "AZURE_CLIENT_SECRET": "CANARY"}
	identity := func(env vars, t http.RoundTripper) credential.Source {
		return withEnv{must(azureidentity.New(&azureidentity.Options{Transport: t, DisableInstanceDiscovery: true})), env}
	}
	vault := func(url string, t http.RoundTripper) credential.Source {
		return must(azurekeyvault.New(url, "openai", &azurekeyvault.Options{Credential: entra{}, Transport: t}))
	}
	return map[string]way{
		"identity endpoint": func(*testing.T, *stranger) credential.Source {
			return identity(vars{"IDENTITY_ENDPOINT": public + "/msi", "IDENTITY_HEADER": "CANARY"}, nil)
		},
		"identity endpoint, MSI_ENDPOINT": func(*testing.T, *stranger) credential.Source {
			return identity(vars{"MSI_ENDPOINT": public + "/msi", "MSI_SECRET": "CANARY"}, nil)
		},
		"identity endpoint, 307": func(t *testing.T, s *stranger) credential.Source {
			return identity(vars{"IDENTITY_ENDPOINT": s.moved(t, 307), "IDENTITY_HEADER": "CANARY"}, nil)
		},
		"identity endpoint, a transport that lies": func(_ *testing.T, s *stranger) credential.Source {
			return identity(vars{"IDENTITY_ENDPOINT": "http://localhost:1/msi", "IDENTITY_HEADER": "CANARY"}, s.lies())
		},
		"authority": func(_ *testing.T, s *stranger) credential.Source {
			return identity(vars{"AZURE_AUTHORITY_HOST": s.url, "AZURE_TENANT_ID": principal["AZURE_TENANT_ID"], "AZURE_CLIENT_ID": principal["AZURE_CLIENT_ID"], "AZURE_CLIENT_SECRET": "CANARY"}, nil)
		},
		"authority, 307": func(_ *testing.T, s *stranger) credential.Source {
			return identity(principal, answers(307, "Location", s.url))
		},
		"vault, http": func(_ *testing.T, s *stranger) credential.Source { return vault(s.url, nil) },
		"vault, 307": func(_ *testing.T, s *stranger) credential.Source {
			return vault(azuretest.VaultURL, answers(307, "Location", s.url))
		},
		"vault, a challenge": func(_ *testing.T, s *stranger) credential.Source {
			return vault(azuretest.VaultURL, answers(401, "Www-Authenticate", `Bearer authorization="`+s.url+`/tenant", resource="https://vault.azure.net"`))
		},
	}
}

func waysOfVault() map[string]way {
	vault := func(env vars, opts *hashivault.Options) credential.Source {
		all := vars{"VAULT_TOKEN": "hvs.CANARY"}
		for k, v := range env {
			all[k] = v
		}
		return withEnv{must(hashivault.New("secret/openai", opts)), all}
	}
	return map[string]way{
		"Vault, VAULT_ADDR": func(_ *testing.T, s *stranger) credential.Source { return vault(vars{"VAULT_ADDR": s.url}, nil) },
		"Vault, VAULT_AGENT_ADDR": func(_ *testing.T, s *stranger) credential.Source {
			return vault(vars{"VAULT_AGENT_ADDR": s.url}, nil)
		},
		"Vault, a proxy": func(_ *testing.T, s *stranger) credential.Source {
			return vault(vars{"VAULT_ADDR": public, "VAULT_PROXY_ADDR": s.url}, nil)
		},
		"Vault, a client": func(t *testing.T, s *stranger) credential.Source {
			cfg := api.DefaultConfig()
			cfg.Address = s.url
			client, err := api.NewClient(cfg)
			if err != nil {
				t.Fatal(err)
			}
			client.SetToken("hvs.CANARY")
			return vault(nil, &hashivault.Options{Client: client})
		},
		"Vault, 301": func(t *testing.T, s *stranger) credential.Source {
			return vault(vars{"VAULT_ADDR": s.moved(t, 301)}, nil)
		},
		"Vault, 307": func(t *testing.T, s *stranger) credential.Source {
			return vault(vars{"VAULT_ADDR": s.moved(t, 307)}, nil)
		},
		"Vault, a login, 307": func(t *testing.T, s *stranger) credential.Source {
			return vault(vars{"VAULT_ADDR": s.moved(t, 307)}, &hashivault.Options{Auth: &hashivault.AppRole{RoleID: "r", SecretID: credential.NewSecret("CANARY")}})
		},
		"Vault, a transport that lies": func(_ *testing.T, s *stranger) credential.Source {
			return vault(vars{"VAULT_ADDR": "http://localhost:1"}, &hashivault.Options{Transport: s.lies()})
		},
	}
}

func waysOfOpenAI() map[string]way {
	workload := func(from string, env vars, t http.RoundTripper) credential.Source {
		o := &openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: from, Transport: t}
		if from == "azure" {
			o.Audience = "api://openai"
		} else {
			o.Token = func(context.Context) (credential.Secret, error) {
				return credential.NewSecret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARY-signature"), nil
			}
		}
		return withEnv{must(openaiworkload.New(o)), env}
	}
	return map[string]way{
		"OpenAI, identity endpoint": func(*testing.T, *stranger) credential.Source {
			return workload("azure", vars{"IDENTITY_ENDPOINT": public + "/msi", "IDENTITY_HEADER": "CANARY"}, nil)
		},
		"OpenAI, identity endpoint, 307": func(t *testing.T, s *stranger) credential.Source {
			return workload("azure", vars{"IDENTITY_ENDPOINT": s.moved(t, 307), "IDENTITY_HEADER": "CANARY"}, nil)
		},
		"OpenAI, identity endpoint, a transport that lies": func(_ *testing.T, s *stranger) credential.Source {
			return workload("azure", vars{"IDENTITY_ENDPOINT": "http://localhost:1", "IDENTITY_HEADER": "CANARY"}, s.lies())
		},
		"OpenAI, the exchange, 307": func(_ *testing.T, s *stranger) credential.Source {
			return workload("", nil, answers(307, "Location", s.url))
		},
	}
}
