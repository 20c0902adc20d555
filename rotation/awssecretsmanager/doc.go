// Package awssecretsmanager keeps a rotation in one secret of AWS Secrets Manager, and
// is the rotation function that Secrets Manager calls.
//
//	store, err := awssecretsmanager.New("prod/openai", &awssecretsmanager.Options{Field: "apiKey"})
//	rotator, err := rotation.New(issuer, store, nil)
//
// The staging labels say which version is which: AWSCURRENT, AWSPENDING and
// AWSPREVIOUS, as Secrets Manager uses them. Readers use package
// credential/awssecretsmanager with the same Field and the StandbyStage "AWSPENDING".
// A secret that has a key and no rotation yet is taken over: its key is the current
// one, and is due. The secret itself has to be there; it may be without a value.
//
// # What is in the secret
//
// A version holds the key: as its whole text, or in Field of a JSON document, whose
// other members stay as they are. What else a rotation knows of a version is in a
// label of its own that begins with "latchkey:", such as the id of the key and its
// times, to the second. Labels hold no secret; CloudTrail shows them.
//
// Secrets Manager does not change a version. So a version that is prepared and has no
// key yet is one with a text that no reader takes for a key, and the one with the key
// takes its place. Where Secrets Manager itself has prepared a version without a
// value, that gets the key.
//
// # How a change is made
//
// A label moves from one version to another only if it is where the caller says
// (UpdateSecretVersionStage with RemoveFromVersionId), and a version gets a value once
// (PutSecretValue with ClientRequestToken). Each change is one such request: Stage
// moves AWSPENDING, or gives a value to the version that Secrets Manager has prepared;
// Promote moves AWSCURRENT; Retire and Abandon remove AWSPREVIOUS and AWSPENDING. Right
// before that, all labels are compared with those of the State. What comes before the
// request has no meaning without it, and what comes after it only cleans up, and is
// done by a later Stage if it is lost.
//
// # What it guarantees
//
//   - Of several rotators with the same State one makes its change. The others get
//     [rotation.ErrConflict].
//   - A change whose request got lost is not made. One whose answer got lost is found
//     when the SDK sends the request again, or else by the next Load.
//   - Readers never get a key that is not proved, but as AWSPENDING.
//
// # What it cannot
//
//   - Between the comparison and the request, a label may change that the request does
//     not name. Then a version may be promoted that was abandoned at the same moment,
//     or a rotation prepared during a promotion. Each of these is a state that a
//     rotation goes on from, and no key in use is lost.
//   - Where Secrets Manager has given a rotation up and begun another one within the
//     moment in which the first one's key is written, AWSPENDING goes back to the
//     first. The second one fails then, and Secrets Manager begins again.
//
// # Permissions
//
// Store needs secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and
// UpdateSecretVersionStage on the secret, TagResource for Options.ExpiryTag, and
// kms:Decrypt and kms:GenerateDataKey if a key of your own encrypts the secret.
//
// # The rotation function
//
// [Store.Rotate] takes the four steps of Secrets Manager. The function of AWS Lambda
// around it, with its role and alarms, is in examples/rotation/aws.
package awssecretsmanager
