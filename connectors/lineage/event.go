package lineage

// event is a RunEvent of OpenLineage, with the facets that are used here.
type event struct {
	Type      string   `json:"eventType"`
	Time      string   `json:"eventTime"`
	Run       run      `json:"run"`
	Job       job      `json:"job"`
	Inputs    []input  `json:"inputs"`
	Outputs   []output `json:"outputs"`
	Producer  string   `json:"producer"`
	SchemaURL string   `json:"schemaURL"`
}

type run struct {
	ID     string         `json:"runId"`
	Facets map[string]any `json:"facets,omitempty"`
}

type job struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type dataset struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type input struct {
	dataset
	Facets map[string]any `json:"inputFacets,omitempty"`
}

type output struct {
	dataset
	Facets map[string]any `json:"outputFacets,omitempty"`
}

// base is what every facet has.
type base struct {
	Producer  string `json:"_producer"`
	SchemaURL string `json:"_schemaURL"`
}

func (e *event) base(version, name string) base {
	return base{e.Producer, "https://openlineage.io/spec/facets/" + version + "/" + name + ".json#/$defs/" + name}
}

type errorMessage struct {
	base
	Message  string `json:"message"`
	Language string `json:"programmingLanguage"`
}

type nominalTime struct {
	base
	Start string `json:"nominalStartTime"`
}

type quality struct {
	base
	RowCount int64                    `json:"rowCount"`
	Bytes    int64                    `json:"bytes,omitempty"`
	Columns  map[string]columnMetrics `json:"columnMetrics"`
}

type columnMetrics struct {
	NullCount     int64  `json:"nullCount"`
	DistinctCount *int64 `json:"distinctCount,omitempty"`
}

// statistics of what was written: rows that got a flag or an earlier one, and
// the bytes of the table afterwards.
type statistics struct {
	base
	RowCount int64 `json:"rowCount"`
	Size     int64 `json:"size,omitempty"`
}
