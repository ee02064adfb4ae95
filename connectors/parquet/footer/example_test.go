package footer_test

import (
	"fmt"
	"os"

	"optsweep/connectors/parquet/footer"
)

// The footer of a file tells its rows and columns without reading any value.
func ExampleRead() {
	f, err := os.Open("../../../testdata/parquet/fixtures/pyarrow-binary.parquet")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		fmt.Println(err)
		return
	}
	meta, err := footer.Read(f, info.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(meta.Rows, "rows in", len(meta.Groups), "row groups")
	fmt.Println(meta.Top)
	// Output:
	// 360 rows in 1 row groups
	// [euid]
}
