package demo

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// column is a column and how to make its values for a batch.
type column struct {
	field    arrow.Field
	distinct bool // too many different values for a dictionary
	fill     func(b *batch) arrow.Array
}

// columns lists the columns of a data set, in order.
func columns(o Options) []column {
	id := column{arrow.Field{Name: IDColumn, Type: arrow.BinaryTypes.String, Nullable: true}, true, (*batch).ids}
	if o.Narrow {
		return []column{
			distinct("record_id", arrow.PrimitiveTypes.Int64, (*batch).rowNumbers),
			id,
			dictionary("country", countries...),
			floats[float64]("average_basket", arrow.PrimitiveTypes.Float64, 250),
		}
	}
	return []column{
		distinct("record_id", arrow.PrimitiveTypes.Int64, (*batch).rowNumbers),
		id,
		distinct("crm_key", arrow.BinaryTypes.String, (*batch).keys),
		words("source_system", 0, "web", "shop", "app", "call_centre", "loyalty", "partner"),
		dictionary("country", countries...),
		integers[int16]("region_code", arrow.PrimitiveTypes.Int16, 1200),
		words("language", 2, "de", "fr", "nl", "en", "it", "es", "pl", "sv", "da", "fi"),
		dictionary("age_band", "18-24", "25-34", "35-44", "45-54", "55-64", "65+"),
		words("loyalty_tier", 35, "blue", "silver", "gold", "platinum"),
		{arrow.Field{Name: "household", Type: household, Nullable: true}, false, (*batch).households},
		dictionary("device_os", "android", "ios", "windows", "macos", "linux", "tvos"),
		words("browser", 4, "chrome", "safari", "firefox", "edge", "samsung", "webview"),
		words("app_version", 45, "7.2.0", "7.1.3", "7.1.2", "7.0.9", "6.9.1", "6.8.0", "6.7.4"),
		booleans("consent_marketing", 70, 0),
		booleans("consent_profiling", 55, 12),
		dates("created_on", o.Now),
		timestamps("first_seen", arrow.Millisecond, "UTC", o.Now, 3*365),
		timestamps("last_seen", arrow.Microsecond, "UTC", o.Now, 90),
		timestamps("modified_at", arrow.Millisecond, "", o.Now, 30),
		integers[int32]("sessions_30d", arrow.PrimitiveTypes.Int32, 60),
		integers[int32]("page_views_30d", arrow.PrimitiveTypes.Int32, 900),
		integers[int16]("ad_clicks_30d", arrow.PrimitiveTypes.Int16, 40),
		integers[int64]("ad_views_30d", arrow.PrimitiveTypes.Int64, 5000),
		integers[int32]("orders_total", arrow.PrimitiveTypes.Int32, 120),
		decimals("revenue_eur", 12, 4_000_000),
		decimals("discounts_eur", 9, 90_000),
		floats[float64]("average_basket", arrow.PrimitiveTypes.Float64, 250),
		{arrow.Field{Name: "churn_risk", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, true, (*batch).churnRisks},
		floats[float32]("propensity", arrow.PrimitiveTypes.Float32, 1),
		floats[float32]("lookalike_score", arrow.PrimitiveTypes.Float32, 100),
		{arrow.Field{Name: "segments", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}, false, (*batch).segments},
		{arrow.Field{Name: "interests", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}, false, (*batch).interests},
		words("last_campaign", 25, "spring_sale", "summer_sale", "autumn_sale", "winter_sale", "welcome", "win_back", "newsletter"),
		dictionary("utm_source", "search", "social", "display", "email", "affiliate", "direct"),
		integers[int64]("bid_floor_micros", arrow.PrimitiveTypes.Int64, 3_000_000),
		distinct("profile_key", &arrow.FixedSizeBinaryType{ByteWidth: 16}, (*batch).profileKeys),
		{arrow.Field{Name: "sketch", Type: arrow.BinaryTypes.Binary, Nullable: true}, true, (*batch).sketches},
	}
}

var countries = []string{"DE", "FR", "GB", "IT", "ES", "NL", "PL", "SE", "BE", "AT", "DK", "FI", "IE", "PT", "CZ"}

func distinct(name string, t arrow.DataType, fill func(*batch) arrow.Array) column {
	return column{arrow.Field{Name: name, Type: t}, true, fill}
}

func (b *batch) rowNumbers() arrow.Array {
	out := array.NewInt64Builder(memory.DefaultAllocator)
	out.Reserve(b.rows)
	for i := range b.rows {
		out.UnsafeAppend(int64(b.first) + int64(i) + 1)
	}
	return out.NewArray()
}

// keys are "c-" and a number of the customer, unlike the row number.
func (b *batch) keys() arrow.Array {
	out := array.NewStringBuilder(memory.DefaultAllocator)
	out.Reserve(b.rows)
	out.ReserveData(b.rows * 16)
	text := []byte("c-")
	for range b.rows {
		text = strconv.AppendUint(text[:2], b.random.next()>>20, 36)
		out.BinaryBuilder.Append(text)
	}
	return out.NewArray()
}

// words picks from a list, the first more often; nulls is a percentage.
func words(name string, nulls int, list ...string) column {
	return column{arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: nulls > 0}, false, func(b *batch) arrow.Array {
		out := array.NewStringBuilder(memory.DefaultAllocator)
		out.Reserve(b.rows)
		for range b.rows {
			if b.null(nulls) {
				out.AppendNull()
				continue
			}
			out.Append(list[b.random.skewed(len(list))])
		}
		return out.NewArray()
	}}
}

func (b *batch) null(percent int) bool { return percent > 0 && b.random.below(100) < percent }

// dictionary is words as an Arrow dictionary.
func dictionary(name string, list ...string) column {
	t := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	return column{arrow.Field{Name: name, Type: t}, false, func(b *batch) arrow.Array {
		entries := array.NewStringBuilder(memory.DefaultAllocator)
		entries.AppendValues(list, nil)
		indices := array.NewInt32Builder(memory.DefaultAllocator)
		indices.Reserve(b.rows)
		for range b.rows {
			indices.UnsafeAppend(int32(b.random.skewed(len(list))))
		}
		return array.NewDictionaryArray(t, indices.NewArray(), entries.NewArray())
	}}
}

// numbers makes a column of values of one width, none of them NULL.
func numbers[T arrow.FixedWidthType](name string, t arrow.DataType, distinct bool, value func(*random) T) column {
	return column{arrow.Field{Name: name, Type: t}, distinct, func(b *batch) arrow.Array {
		values := make([]T, b.rows)
		for i := range values {
			values[i] = value(&b.random)
		}
		buffers := []*memory.Buffer{nil, memory.NewBufferBytes(arrow.GetBytes(values))}
		return array.MakeFromData(array.NewData(t, b.rows, buffers, nil, 0, 0))
	}}
}

// integers are from 0 to below, the low ones more often.
func integers[T int16 | int32 | int64](name string, t arrow.DataType, below int) column {
	return numbers(name, t, below > 1<<16, func(r *random) T { return T(r.skewed(below)) })
}

func floats[T float32 | float64](name string, t arrow.DataType, below T) column {
	return numbers(name, t, true, func(r *random) T { return T(r.share()) * below })
}

// dates are of the last ten years.
func dates(name string, now time.Time) column {
	today := int(now.Unix() / (24 * 3600))
	return numbers(name, arrow.FixedWidthTypes.Date32, false, func(r *random) arrow.Date32 {
		return arrow.Date32(today - r.below(10*365))
	})
}

// timestamps lie within the given number of days before now.
func timestamps(name string, unit arrow.TimeUnit, zone string, now time.Time, days int) column {
	latest, span := now.UnixMicro(), float64(days)*24*3600*1e6
	perUnit := int64(unit.Multiplier() / time.Microsecond)
	return numbers(name, &arrow.TimestampType{Unit: unit, TimeZone: zone}, true, func(r *random) arrow.Timestamp {
		return arrow.Timestamp((latest - int64(r.share()*span)) / perUnit)
	})
}

// decimals have two digits after the point; below counts hundredths.
func decimals(name string, precision int32, below int) column {
	return numbers(name, &arrow.Decimal128Type{Precision: precision, Scale: 2}, true, func(r *random) decimal128.Num {
		return decimal128.FromI64(int64(r.skewed(below)))
	})
}

func (b *batch) churnRisks() arrow.Array {
	out := array.NewFloat64Builder(memory.DefaultAllocator)
	out.Reserve(b.rows)
	for range b.rows {
		if b.null(5) {
			out.AppendNull()
			continue
		}
		out.UnsafeAppend(b.random.share())
	}
	return out.NewArray()
}

// booleans are true in percent of the rows that are not NULL.
func booleans(name string, percent, nulls int) column {
	return column{arrow.Field{Name: name, Type: arrow.FixedWidthTypes.Boolean, Nullable: nulls > 0}, false, func(b *batch) arrow.Array {
		out := array.NewBooleanBuilder(memory.DefaultAllocator)
		out.Reserve(b.rows)
		for range b.rows {
			if b.null(nulls) {
				out.AppendNull()
				continue
			}
			out.UnsafeAppend(b.random.below(100) < percent)
		}
		return out.NewArray()
	}}
}

// household is a nested column.
var household = arrow.StructOf(
	arrow.Field{Name: "size", Type: arrow.PrimitiveTypes.Int8},
	arrow.Field{Name: "dwelling", Type: arrow.BinaryTypes.String, Nullable: true},
	arrow.Field{Name: "owns_car", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
)

func (b *batch) households() arrow.Array {
	out := array.NewStructBuilder(memory.DefaultAllocator, household)
	size := out.FieldBuilder(0).(*array.Int8Builder)
	dwelling := out.FieldBuilder(1).(*array.StringBuilder)
	car := out.FieldBuilder(2).(*array.BooleanBuilder)
	for range b.rows {
		if b.null(8) {
			out.AppendNull()
			continue
		}
		out.Append(true)
		size.Append(int8(1 + b.random.skewed(7)))
		car.Append(b.random.below(100) < 60)
		if b.null(15) {
			dwelling.AppendNull()
			continue
		}
		dwelling.Append([...]string{"flat", "house", "terrace", "farm"}[b.random.skewed(4)])
	}
	return out.NewArray()
}

func (b *batch) segments() arrow.Array {
	out := array.NewListBuilder(memory.DefaultAllocator, arrow.PrimitiveTypes.Int32)
	items := out.ValueBuilder().(*array.Int32Builder)
	for range b.rows {
		if b.null(10) {
			out.AppendNull()
			continue
		}
		out.Append(true)
		for range b.random.skewed(6) {
			items.Append(int32(100 + b.random.skewed(800)))
		}
	}
	return out.NewArray()
}

func (b *batch) interests() arrow.Array {
	out := array.NewListBuilder(memory.DefaultAllocator, arrow.BinaryTypes.String)
	items := out.ValueBuilder().(*array.StringBuilder)
	list := [...]string{"travel", "garden", "cooking", "sports", "music", "cars", "books", "fashion", "pets", "games"}
	for range b.rows {
		if b.null(30) {
			out.AppendNull()
			continue
		}
		out.Append(true)
		for range b.random.skewed(4) {
			items.Append(list[b.random.skewed(len(list))])
		}
	}
	return out.NewArray()
}

func (b *batch) profileKeys() arrow.Array {
	out := array.NewFixedSizeBinaryBuilder(memory.DefaultAllocator, &arrow.FixedSizeBinaryType{ByteWidth: 16})
	out.Reserve(b.rows)
	var key [16]byte
	for range b.rows {
		binary.LittleEndian.PutUint64(key[:8], b.random.next())
		binary.LittleEndian.PutUint64(key[8:], b.random.next())
		out.Append(key[:])
	}
	return out.NewArray()
}

// sketches are short and of any bytes, as a probabilistic counter would be.
func (b *batch) sketches() arrow.Array {
	out := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	out.Reserve(b.rows)
	var sketch [24]byte
	for range b.rows {
		if b.null(40) {
			out.AppendNull()
			continue
		}
		for i := 0; i < len(sketch); i += 8 {
			binary.LittleEndian.PutUint64(sketch[i:], b.random.next())
		}
		out.Append(sketch[:b.random.below(len(sketch)+1)])
	}
	return out.NewArray()
}
