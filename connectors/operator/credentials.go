package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"sync"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

// Credentials are what an operator's customer holds: the API key goes into the
// Authorization header, the client secret encrypts.
type Credentials struct {
	APIKey       schemas.Secret
	ClientSecret schemas.Secret // standard base64 of 32 bytes
}

func (c Credentials) equal(other Credentials) bool {
	return c.APIKey.Reveal() == other.APIKey.Reveal() && c.ClientSecret.Reveal() == other.ClientSecret.Reveal()
}

// keyPattern is the form of an API key: scope, kind C (client) or O (operator),
// environment, site, then six and 38 random characters (shared
// auth/AuthorizableStore.java). Older keys are random text throughout.
var keyPattern = regexp.MustCompile(`^((UID2|EUID)-[CO]-([LTIP])-\d+-[^.\s]{5})[^.\s]\.\S+$`)

// KeyName is the part of an API key that may be shown, such as
// EUID-C-I-123-t32pC; the operator's own records hold it as key_id (shared
// auth/ClientKey.java). It is empty for a key of the older form.
func KeyName(key schemas.Secret) string {
	if m := keyPattern.FindStringSubmatch(trimmed(key)); m != nil {
		return m[1]
	}
	return ""
}

// KeyFingerprint tells API keys apart without giving them away: the first 16
// hexadecimal digits of the key's SHA-256. White space around the key does not
// count.
func KeyFingerprint(key schemas.Secret) string {
	sum := sha256.Sum256([]byte(trimmed(key)))
	return hex.EncodeToString(sum[:8])
}

func trimmed(s schemas.Secret) string { return strings.TrimSpace(s.Reveal()) }

// trimmedSecret is for files that end in a line break.
func trimmedSecret(s schemas.Secret) schemas.Secret { return schemas.NewSecret(trimmed(s)) }

// keyMismatch says in which way the name of a key contradicts the scope and
// environment it is used for; it is empty if it does not. Keys for local and
// test use fit any environment.
func keyMismatch(key schemas.Secret, scope schemas.Scope, environment schemas.Environment) string {
	m := keyPattern.FindStringSubmatch(trimmed(key))
	if m == nil {
		return ""
	}
	keyScope := schemas.Scope(strings.ToLower(m[2]))
	keyEnvironment := map[string]schemas.Environment{"I": schemas.Integration, "P": schemas.Production}[m[3]]
	if keyScope == scope && (keyEnvironment == "" || keyEnvironment == environment) {
		return ""
	}
	return "the API key is of " + describe(keyScope, keyEnvironment) + ", the job is about " + describe(scope, environment)
}

// keys are credentials that are ready for use.
type keys struct {
	source        Credentials
	authorization schemas.Secret // header
	cipher        *envelope.Cipher
}

func newKeys(source Credentials) (*keys, error) {
	if err := checkKey(source.APIKey); err != nil {
		return nil, err
	}
	cipher, err := envelope.NewCipher(trimmedSecret(source.ClientSecret))
	if err != nil {
		return nil, err
	}
	return &keys{source: source, authorization: schemas.NewSecret("Bearer " + trimmed(source.APIKey)), cipher: cipher}, nil
}

// checkKey refuses what cannot be an API key or be sent in a header.
func checkKey(key schemas.Secret) error {
	text := trimmed(key)
	if text == "" {
		return schemas.Errorf(schemas.Usage, "API key is empty").WithHint("see operator.api_key")
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return schemas.Errorf(schemas.Usage, "API key holds a character that no API key has").
				WithHint("see operator.api_key: only the key itself belongs there")
		}
	}
	return nil
}

// label names the key in messages.
func (k *keys) label() string {
	if name := KeyName(k.source.APIKey); name != "" {
		return name
	}
	return "with fingerprint " + KeyFingerprint(k.source.APIKey)
}

// keyring holds the credentials in use.
type keyring struct {
	load    func(context.Context) (Credentials, error)
	mu      sync.Mutex
	current *keys
}

// get returns the credentials, reading them on first use.
func (r *keyring) get(ctx context.Context) (*keys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		if err := r.read(ctx); err != nil {
			return nil, err
		}
	}
	return r.current, nil
}

// renew reads the credentials again after refused did not work, unless another
// batch has done so already. It returns refused itself if nothing changed.
func (r *keyring) renew(ctx context.Context, refused *keys) (*keys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == refused {
		if err := r.read(ctx); err != nil {
			return nil, err
		}
		if r.current.source.equal(refused.source) {
			r.current = refused
		}
	}
	return r.current, nil
}

func (r *keyring) read(ctx context.Context) error {
	source, err := r.load(ctx)
	if err != nil {
		return err
	}
	k, err := newKeys(source)
	if err != nil {
		return err
	}
	r.current = k
	return nil
}
