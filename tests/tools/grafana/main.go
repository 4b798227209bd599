// Checks a dashboard on standard input against Grafana's own schema: every field is known, and of the
// right type. Fails with one line for each fault.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	// What the kinds of panels and data sources have beyond what all have.
	plugins.RegisterDefaultPlugins()
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	var board dashboard.Dashboard
	// Without a fault both give an error that is not nil and empty.
	for _, err := range []error{board.UnmarshalJSONStrict(text), board.Validate()} {
		if err != nil && err.Error() != "" {
			fail(err)
		}
	}
	fmt.Println(len(board.Panels), "panels")
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
