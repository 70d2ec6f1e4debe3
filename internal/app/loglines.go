package app

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/postern-mail/postern/internal/quarantine"
)

// openInput opens a file, or standard input for "-".
func (a *App) openInput(path string) (io.Reader, func() error, error) {
	if path == "-" {
		return a.o.Stdin, func() error { return nil }, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// eachLine calls f for each line; lines longer than a megabyte are passed over.
func eachLine(r io.Reader, f func([]byte)) error {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
		case len(line) > 0:
			f(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// printLogLine prints one JSON line of the log for people: filters and findings as tables, the rest as rows.
func (a *App) printLogLine(line []byte) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return
	}
	var parts struct {
		Filters  []quarantine.FilterRun
		Findings []quarantine.Finding
	}
	_ = json.Unmarshal(line, &parts) // lines without them leave both empty
	delete(fields, "filters")
	delete(fields, "findings")
	w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		var s string
		if json.Unmarshal(fields[k], &s) != nil {
			s = string(fields[k])
		}
		if s != "" {
			fmt.Fprintf(w, "%s\t%s\n", k, visible(s))
		}
	}
	printFindings(w, parts.Findings)
	printRuns(w, parts.Filters)
	w.Flush()
	fmt.Fprintln(a.o.Stdout)
}
