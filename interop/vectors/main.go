// Ergo-vectors writes golden vectors of the Ergo release it is built with: EDF
// values encoded by Ergo's codec, and sessions recorded between two of its nodes.
// The formats are those of docs/wire/vectors/README.md.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"ergo.services/ergo"

	"example.org/postroad/interop/typed"
	"example.org/postroad/interop/types"
)

func main() {
	folder := flag.String("out", "vectors/data", "folder to write to")
	release := flag.String("release", ergo.FrameworkVersion.Release, "release, as it is called in the file names")
	serving := flag.Bool("serve", false, "be the other node of a session (the program starts itself so)")
	pool := flag.Int("pool", 1, "links per connection of the other node")
	flag.Parse()
	var err error
	if *serving {
		err = serve(*pool)
	} else {
		err = write(*folder, *release)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ergo-vectors:", err)
		os.Exit(1)
	}
}

func write(folder, release string) error {
	if err := types.Register(); err != nil {
		return err
	}
	if err := record(folder, release); err != nil {
		return err
	}
	lines, err := edfLines()
	if err != nil {
		return err
	}
	if err := writeLines(filepath.Join(folder, "edf_"+release+".jsonl"), lines); err != nil {
		return err
	}
	var schemas []any
	for _, value := range types.Registered() {
		schemas = append(schemas, typed.Describe(reflect.TypeOf(value)))
	}
	if err := writeLines(filepath.Join(folder, "interop_types.jsonl"), schemas); err != nil {
		return err
	}
	return writeLines(filepath.Join(folder, "announced_"+release+".jsonl"), announced())
}

func writeLines(path string, lines []any) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	buffered := bufio.NewWriter(file)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return file.Close()
}
