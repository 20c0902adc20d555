// Package azurekeyvault keeps a rotation in Azure Key Vault, in two secrets.
//
// The first, with the name that New is given, is for readers: its newest version is
// the current key and nothing else, so that package credential/azurekeyvault, a Key
// Vault reference of App Service and any other program read it without an option. The
// second, the journal, holds the state of the rotation with the pending and the
// previous key, and is for rotators alone.
//
// There are two because Key Vault gives out the newest version to whoever asks for no
// version, also if it is disabled: then the answer is 403
// (https://learn.microsoft.com/azure/key-vault/secrets/about-secrets). A pending key
// in the secret of readers would either be used before it is proved, or lock them out.
//
// # How a change is made
//
// Key Vault has no compare-and-set: a write is always accepted and makes a version
// that is never changed. A version of the journal names, in a tag, the version that it
// follows. If several follow the same one, the one that Key Vault created first counts,
// by the attribute created and then by the identifier; the others, and what follows
// them, do not count. Key Vault gives created in whole seconds. So a rotator reads the
// versions again when no other one can be created with the same time, which is 2
// seconds later, and only then knows who was first. Load waits in the same way if the
// newest version is younger than that.
//
// A promotion is a change of the journal, and after it a new version of the secret of
// readers. Load looks at the secret of readers first and at the journal second, and
// publishes the current key if readers have another one; the time of Promoted is then
// that of the publication, so that the overlap begins when readers can have the key.
//
// # What it guarantees
//
//   - Of several rotators with the same State one makes its change. The others get
//     [rotation.ErrConflict].
//   - A change whose request got lost is not made. One whose answer got lost is found
//     by reading. If that is not possible, the error leaves open whether it was made,
//     and the next Load tells.
//   - A repeated request, by the SDK or by the network, has its effect once.
//   - Readers never get a pending key, and get the current one again after the next
//     Load whatever was killed before.
//   - No tag holds a key.
//
// # What it cannot
//
//   - It trusts the clock of the vault: that versions are created in the order of
//     created, but for less than a second, and that a version is listed when its
//     request has been answered.
//   - A rotator that is held up between its change of the journal and the publication
//     may publish its key after a later one was published. Readers have that key until
//     the next Load of any rotator. It is accepted unless the rotator was held up for as
//     long as the key was current and previous together.
//   - Versions cannot be deleted. A rotation makes four in the journal and one for
//     readers, and one that fails makes one in the journal each time it is tried. Load
//     lists the versions of the journal, 25 for each request. Old versions hold keys
//     that were revoked.
//
// # What somebody else puts there
//
// A secret of readers that is there before the journal is taken over as the current
// key, and is due. So is a version that somebody adds later, unless it holds the
// current key: then the pending and the previous version are forgotten, because
// somebody may have revoked them. In a vault without the secret the first rotation
// makes it.
//
// # What it needs
//
// On both secrets the rotator needs the data actions getSecret, setSecret and
// readMetadata of Microsoft.KeyVault/vaults/secrets, all of which are in the role Key
// Vault Secrets Officer, or the permissions Get, Set and List of an access policy.
// Readers need Key Vault Secrets User on the first secret, and nothing on the journal.
package azurekeyvault
