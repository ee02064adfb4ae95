package bigquery

import (
	"context"
	"errors"
)

func (c *Client) streamHits(ctx context.Context, h *hits, id, run string, dst TableRef) (outcome, error) {
	return outcome{}, errors.New("not there yet")
}
