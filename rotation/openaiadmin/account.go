package openaiadmin

import (
	"context"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// An account is whose keys are made. Its errors are those of the SDK.
type account interface {
	issue(ctx context.Context, name string, seconds int64) (rotation.Key, error)
	list(ctx context.Context) ([]rotation.Key, error)
	remove(ctx context.Context, id string) error
	// proof is the path of a request that proves a key.
	proof() string
}

func (o *Options) account(c *client.Client) account {
	if o.AdminKeys {
		return &organization{openai.NewAdminOrganizationAdminAPIKeyService(c.Options()...)}
	}
	return &serviceAccount{
		project: o.Project, id: o.ServiceAccount, scopes: o.Scopes,
		made: openai.NewAdminOrganizationProjectServiceAccountAPIKeyService(c.Options()...),
		keys: openai.NewAdminOrganizationProjectAPIKeyService(c.Options()...),
	}
}

// A serviceAccount is one of a project.
type serviceAccount struct {
	project, id string
	scopes      []string
	made        openai.AdminOrganizationProjectServiceAccountAPIKeyService
	keys        openai.AdminOrganizationProjectAPIKeyService
}

func (s *serviceAccount) issue(ctx context.Context, name string, seconds int64) (rotation.Key, error) {
	k, err := s.made.New(ctx, s.project, s.id, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{
		Name: param.NewOpt(name), ExpiresInSeconds: param.NewOpt(seconds), Scopes: s.scopes,
	})
	if err != nil {
		return rotation.Key{}, err
	}
	return rotation.Key{ID: k.ID, Name: k.Name, Secret: credential.NewSecret(k.Value), Created: unix(k.CreatedAt), Expires: unix(k.ExpiresAt)}, nil
}

// list picks the keys of the account out of those of the project: there is no list of
// its own.
func (s *serviceAccount) list(ctx context.Context) (keys []rotation.Key, err error) {
	page := s.keys.ListAutoPaging(ctx, s.project, openai.AdminOrganizationProjectAPIKeyListParams{
		Limit: param.NewOpt[int64](100), OwnerProjectAccess: "any",
	})
	for page.Next() {
		k := page.Current()
		if k.Owner.ServiceAccount.ID == s.id {
			keys = append(keys, rotation.Key{ID: k.ID, Name: k.Name, Created: unix(k.CreatedAt), Expires: unix(k.ExpiresAt), LastUsed: unix(k.LastUsedAt)})
		}
	}
	return keys, page.Err()
}

func (s *serviceAccount) remove(ctx context.Context, id string) error {
	_, err := s.keys.Delete(ctx, s.project, id)
	return err
}

func (*serviceAccount) proof() string { return "models" }

// An organization has admin keys.
type organization struct {
	keys openai.AdminOrganizationAdminAPIKeyService
}

func (o *organization) issue(ctx context.Context, name string, seconds int64) (rotation.Key, error) {
	k, err := o.keys.New(ctx, openai.AdminOrganizationAdminAPIKeyNewParams{Name: name, ExpiresInSeconds: param.NewOpt(seconds)})
	if err != nil {
		return rotation.Key{}, err
	}
	return rotation.Key{ID: k.ID, Name: k.Name, Secret: credential.NewSecret(k.Value), Created: unix(k.CreatedAt), Expires: unix(k.ExpiresAt)}, nil
}

func (o *organization) list(ctx context.Context) (keys []rotation.Key, err error) {
	page := o.keys.ListAutoPaging(ctx, openai.AdminOrganizationAdminAPIKeyListParams{Limit: param.NewOpt[int64](100)})
	for page.Next() {
		k := page.Current()
		keys = append(keys, rotation.Key{ID: k.ID, Name: k.Name, Created: unix(k.CreatedAt), Expires: unix(k.ExpiresAt), LastUsed: unix(k.LastUsedAt)})
	}
	return keys, page.Err()
}

func (o *organization) remove(ctx context.Context, id string) error {
	_, err := o.keys.Delete(ctx, id)
	return err
}

func (*organization) proof() string { return "organization/admin_api_keys?limit=1" }
