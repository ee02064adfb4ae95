package embedded

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// ClientRecord is one client of a clients file, in the shape that operators
// read (shared auth/ClientKey.java). The file is a JSON array of them.
type ClientRecord struct {
	KeyHash   string   `json:"key_hash"` // base64 of SHA-512(salt, key)
	KeySalt   string   `json:"key_salt"` // base64 of 32 bytes
	Secret    string   `json:"secret"`   // base64 of 32 bytes, in the clear
	Name      string   `json:"name"`
	Contact   string   `json:"contact"`
	Created   int64    `json:"created"` // Unix seconds
	Roles     []string `json:"roles"`
	SiteID    int      `json:"site_id"`
	Disabled  bool     `json:"disabled"`
	ServiceID int      `json:"service_id"`
	KeyID     string   `json:"key_id"` // start of the key, to tell keys apart
}

// Format hides the record, which holds a secret, from every verb.
func (r ClientRecord) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "client %q", r.Name) }

// statusRoles are the roles of which one is enough for /v2/optout/status
// (operator UIDOperatorVerticle.java).
var statusRoles = []string{"MAPPER", "SHARER", "ID_READER"}

// KeyOptions say which key to make.
type KeyOptions struct {
	Scope       schemas.Scope
	Environment schemas.Environment
	SiteID      int
	Name        string
	Contact     string
	Roles       []string         // nil: ID_READER
	Now         func() time.Time // nil: time.Now
}

// NewKey makes an API key, its client secret, and the record for the clients
// file (shared secret/SecureKeyGenerator.java, KeyHasher.java).
func NewKey(opts KeyOptions) (apiKey, clientSecret schemas.Secret, record ClientRecord, err error) {
	if opts.Name == "" || opts.SiteID < 1 {
		return apiKey, clientSecret, record, schemas.Errorf(schemas.Usage, "a client needs a name and a site id above 0")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Roles == nil {
		opts.Roles = []string{"ID_READER"}
	}
	letter := "I"
	if opts.Environment == schemas.Production {
		letter = "P"
	}
	tail := random64()
	prefix := fmt.Sprintf("%s-C-%s-%d-", strings.ToUpper(string(opts.Scope)), letter, opts.SiteID)
	apiKey = schemas.NewSecret(prefix + tail[:6] + "." + tail[6:])
	clientSecret = schemas.NewSecret(random64())
	record = ClientRecord{
		KeySalt: random64(), Secret: clientSecret.Reveal(), Name: opts.Name, Contact: opts.Contact,
		Created: opts.Now().Unix(), Roles: opts.Roles, SiteID: opts.SiteID, KeyID: prefix + tail[:6],
	}
	salt, err := base64.StdEncoding.DecodeString(record.KeySalt)
	record.KeyHash = base64.StdEncoding.EncodeToString(hashKey(salt, apiKey.Reveal()))
	return apiKey, clientSecret, record, err
}

// random64 is base64 of 32 random bytes.
func random64() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

func hashKey(salt []byte, key string) []byte {
	h := sha512.New()
	h.Write(salt)
	h.Write([]byte(key))
	return h.Sum(nil)
}

// AddClient appends a record to a clients file, or makes the file. Records
// that are there stay as they are.
func AddClient(disk durable.Disk, path string, record ClientRecord) error {
	var records []json.RawMessage
	old, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(old, &records)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return schemas.Errorf(schemas.Usage, "clients file %s cannot be extended: %w", path, err)
	}
	added, err := json.Marshal(record)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(append(records, added), "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteFile(path, append(b, '\n'), 0o600)
}

// client is a record ready for use.
type client struct {
	name    string
	site    int
	hash    []byte
	salt    []byte
	cipher  *envelope.Cipher
	allowed bool // enabled and with a role for opt-out status
}

// clientSet is the content of one version of the clients file.
type clientSet struct {
	all    []*client
	bySite map[int][]*client

	mu       sync.RWMutex
	verified map[[sha256.Size]byte]*client // by hash of the key
}

func parseClients(b []byte) (*clientSet, error) {
	var records []ClientRecord
	if err := json.Unmarshal(b, &records); err != nil {
		return nil, errors.New("it is not a JSON array of clients") // err could quote a secret
	}
	if records == nil {
		return nil, errors.New("it is null instead of a JSON array of clients")
	}
	set := &clientSet{bySite: map[int][]*client{}, verified: map[[sha256.Size]byte]*client{}}
	for i, r := range records {
		c := &client{name: r.Name, site: r.SiteID, allowed: !r.Disabled && slices.ContainsFunc(r.Roles, func(role string) bool {
			return slices.Contains(statusRoles, strings.ToUpper(role))
		})}
		var errHash, errSalt, errSecret error
		c.hash, errHash = base64.StdEncoding.DecodeString(r.KeyHash)
		c.salt, errSalt = base64.StdEncoding.DecodeString(r.KeySalt)
		c.cipher, errSecret = envelope.NewCipher(schemas.NewSecret(r.Secret))
		switch {
		case errHash != nil || len(c.hash) != sha512.Size:
			return nil, fmt.Errorf("key_hash of client %d is not base64 of %d bytes", i+1, sha512.Size)
		case errSalt != nil || len(c.salt) == 0:
			return nil, fmt.Errorf("key_salt of client %d is not base64", i+1)
		case errSecret != nil:
			return nil, fmt.Errorf("secret of client %d: %w", i+1, errSecret)
		}
		if c.name == "" {
			c.name = fmt.Sprintf("client %d", i+1)
		}
		set.all = append(set.all, c)
		set.bySite[c.site] = append(set.bySite[c.site], c)
	}
	return set, nil
}

// keyPattern is searched for, not anchored (shared auth/AuthorizableStore.java).
var keyPattern = regexp.MustCompile(`(?:UID2|EUID)-[CO]-[LTIP]-(\d+)-.{6}\..{38}`)

// find gives the client of an API key, or nil. A key that names its site is
// compared with the clients of that site only.
func (s *clientSet) find(key string) *client {
	cached := sha256.Sum256([]byte(key))
	s.mu.RLock()
	c := s.verified[cached]
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	candidates := s.all
	if m := keyPattern.FindStringSubmatch(key); m != nil {
		site, err := strconv.Atoi(m[1])
		if err != nil {
			return nil
		}
		candidates = s.bySite[site]
	}
	for _, c := range candidates {
		if subtle.ConstantTimeCompare(hashKey(c.salt, key), c.hash) == 1 {
			s.mu.Lock()
			s.verified[cached] = c
			s.mu.Unlock()
			return c
		}
	}
	return nil
}

// clients follow a clients file.
type clients struct {
	path    string
	set     atomic.Pointer[clientSet]
	problem atomic.Pointer[error] // why the last load failed
	mu      sync.Mutex            // guards the rest
	size    int64
	mtime   time.Time
	loaded  bool
}

// load reads the file if it changed. A bad file leaves the clients as they
// are; the error stays the problem until a good one is there.
func (c *clients) load() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, err = c.read()
	if err != nil {
		err = schemas.Errorf(schemas.Usage, "clients file %s: %w", c.path, err).
			WithHint("make a client with operator key new; the file is a JSON array of records with key_hash, key_salt, secret, roles")
		c.problem.Store(&err)
		return false, err
	}
	c.problem.Store(nil)
	return changed, nil
}

func (c *clients) read() (changed bool, err error) {
	info, err := os.Stat(c.path)
	if err != nil {
		return false, err
	}
	if c.loaded && info.Size() == c.size && info.ModTime().Equal(c.mtime) {
		return false, nil
	}
	b, err := os.ReadFile(c.path)
	if err != nil {
		return false, err
	}
	set, err := parseClients(bytes.TrimSpace(b))
	if err != nil {
		c.loaded = false // read it again even if it looks the same
		return false, err
	}
	c.set.Store(set)
	c.size, c.mtime, c.loaded = info.Size(), info.ModTime(), true
	return true, nil
}

// bearer takes the key out of an Authorization header (shared
// middleware/AuthMiddleware.java extractBearerToken).
func bearer(header string) (key string, ok bool) {
	const prefix = "bearer "
	header = strings.TrimFunc(header, func(r rune) bool { return r <= ' ' })
	if len(header) < len(prefix) || !strings.EqualFold(header[:len(prefix)], prefix) {
		return "", false
	}
	return header[len(prefix):], true
}
