package bigquery

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/bigquery"
	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"optsweep/schemas"
)

// Defaults of a Connection.
const (
	DefaultMaxBytes   = 1 << 40       // bytes that one statement may be billed for
	DefaultJobTimeout = 6 * time.Hour // of one statement or load
	DefaultExpiry     = 7 * 24 * time.Hour
)

// scope is the only one that is asked for: it covers REST and both Storage
// APIs.
const scope = "https://www.googleapis.com/auth/bigquery"

// Connection says how BigQuery is reached and what may be spent.
type Connection struct {
	Project     string        // runs and pays for the jobs
	Location    string        // of the jobs, such as EU; empty: BigQuery finds out
	Reservation string        // projects/P/locations/L/reservations/R; empty: as the project is assigned
	MaxBytes    int64         // that a single statement may be billed for
	JobTimeout  time.Duration // of a single statement or load
	Expiry      time.Duration // of optsweep's own staging tables
	Staging     TableRef      // dataset for staging tables
	Temp        string        // folder of this machine for files that hold ids; made if need be

	KeyFile     string // of a service account; empty: application default credentials
	Impersonate string // service account to act as; empty: none

	Endpoint     string // REST; empty: Google's
	GRPCEndpoint string // Storage APIs; empty: Google's
	Insecure     bool   // no TLS and no credentials

	Job string // name of the job, for labels
	Log *slog.Logger
	Now func() time.Time
}

// Client is a connection to BigQuery that the tables of a job share.
type Client struct {
	Connection
	bq    *bigquery.Client
	read  *storage.BigQueryReadClient
	write *storage.BigQueryWriteClient

	pauses  func() *gax.Backoff // between attempts; tests make them short
	silence time.Duration       // after which a read stream is connected anew

	mu    sync.Mutex
	locks map[TableRef]*sync.Mutex // of tables that statements change
}

// Dial makes a client. It sends nothing yet.
func Dial(ctx context.Context, c Connection) (*Client, error) {
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.JobTimeout <= 0 {
		c.JobTimeout = DefaultJobTimeout
	}
	if c.Expiry <= 0 {
		c.Expiry = DefaultExpiry
	}
	if c.Insecure && (c.Endpoint == "" || c.GRPCEndpoint == "") {
		return nil, schemas.Errorf(schemas.Usage, "bigquery: insecure needs endpoint and grpc_endpoint").
			WithHint("without TLS and credentials only a server of your own can be reached")
	}
	rest, grpcOptions, err := c.options(ctx)
	if err != nil {
		return nil, err
	}
	client := &Client{Connection: c, pauses: backoff, silence: silence, locks: map[TableRef]*sync.Mutex{}}
	if client.bq, err = bigquery.NewClient(ctx, c.Project, rest...); err != nil {
		return nil, credentialsError(err)
	}
	client.bq.Location = c.Location
	if client.read, err = storage.NewBigQueryReadClient(ctx, grpcOptions...); err != nil {
		return nil, errors.Join(credentialsError(err), client.bq.Close())
	}
	if client.write, err = storage.NewBigQueryWriteClient(ctx, grpcOptions...); err != nil {
		return nil, errors.Join(credentialsError(err), client.bq.Close(), client.read.Close())
	}
	return client, nil
}

// options are those of the REST client, and of the clients of the Storage
// APIs.
func (c Connection) options(ctx context.Context) (rest, overGRPC []option.ClientOption, err error) {
	common := []option.ClientOption{option.WithUserAgent("optsweep")}
	switch {
	case c.Insecure:
		common = append(common, option.WithoutAuthentication())
	case c.Impersonate != "":
		var base []option.ClientOption
		if c.KeyFile != "" {
			base = append(base, option.WithAuthCredentialsFile(option.ServiceAccount, c.KeyFile))
		}
		tokens, err := impersonate.CredentialsTokenSource(ctx, impersonate.CredentialsConfig{TargetPrincipal: c.Impersonate, Scopes: []string{scope}}, base...)
		if err != nil {
			return nil, nil, credentialsError(err)
		}
		common = append(common, option.WithTokenSource(tokens))
	case c.KeyFile != "":
		common = append(common, option.WithAuthCredentialsFile(option.ServiceAccount, c.KeyFile))
	}
	if !c.Insecure {
		common = append(common, option.WithScopes(scope))
	}
	rest, overGRPC = append(rest, common...), append(overGRPC, common...)
	if c.Endpoint != "" {
		rest = append(rest, option.WithEndpoint(c.Endpoint))
	}
	if c.GRPCEndpoint != "" {
		overGRPC = append(overGRPC, option.WithEndpoint(c.GRPCEndpoint))
	}
	if c.Insecure {
		overGRPC = append(overGRPC, option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	return rest, overGRPC, nil
}

// credentialsError hides what an error of the libraries may show of a key
// file.
func credentialsError(err error) error {
	return schemas.Errorf(schemas.Usage, "bigquery: no usable credentials: %s", clean(err)).
		WithHint("log in with: gcloud auth application-default login; or set bigquery.key_file or GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account")
}

// Close gives the connections back.
func (c *Client) Close() error { return errors.Join(c.bq.Close(), c.read.Close(), c.write.Close()) }

// table is a handle of a table.
func (c *Client) table(r TableRef) *bigquery.Table {
	return c.bq.DatasetInProject(r.Project, r.Dataset).Table(r.Table)
}

// lock keeps other statements of this process off a table: BigQuery runs two
// that change it at a time and gives up on those that conflict.
func (c *Client) lock(r TableRef) (unlock func()) {
	c.mu.Lock()
	l, ok := c.locks[r]
	if !ok {
		l = new(sync.Mutex)
		c.locks[r] = l
	}
	c.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// labels are put on every job, so that its cost can be found in the billing
// export.
func (c *Client) labels(more map[string]string) map[string]string {
	labels := map[string]string{"optsweep_job": label(c.Job)}
	maps.Copy(labels, more)
	return labels
}

var noLabel = regexp.MustCompile(`[^a-z0-9_-]`)

// label makes a valid value of a label: lower case letters, digits, "-" and
// "_", at most 63.
func label(s string) string {
	s = noLabel.ReplaceAllString(strings.ToLower(s), "-")
	return s[:min(len(s), 63)]
}

// callTimeout bounds a single request that is not a statement. The library
// repeats it by itself meanwhile.
const callTimeout = 30 * time.Second

// metadata fetches what is known of a table. found is false if there is none.
func (c *Client) metadata(ctx context.Context, r TableRef) (m *bigquery.TableMetadata, found bool, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		m, err = c.table(r).Metadata(ctx, bigquery.WithMetadataView(bigquery.StorageStatsMetadataView))
		return err
	})
	if isNotFound(err) {
		return nil, false, nil
	}
	return m, err == nil, explain(err, "%s", r)
}

// create makes a table unless there is one.
func (c *Client) create(ctx context.Context, r TableRef, m *bigquery.TableMetadata) error {
	err := c.retry(ctx, func(ctx context.Context) error {
		err := c.table(r).Create(ctx, m)
		if isDuplicate(err) {
			return nil
		}
		return err
	})
	return explain(err, "create %s", r)
}
