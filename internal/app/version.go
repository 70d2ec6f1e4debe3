package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version and Revision are the version of the program and the commit it was built from: as they were set when it was linked,
// else as Go's own record of the build has them.
var (
	Version  = "unknown"
	Revision = ""
)

// module is our own name among the modules of a program.
const module = "github.com/postern-mail/postern"

func init() {
	if info, ok := debug.ReadBuildInfo(); ok {
		Version, Revision = versionOf(info, Version, Revision)
	}
}

// versionOf completes what was set when the program was linked. Where we are a module of somebody's own program, the commit is
// theirs and tells nothing of us.
func versionOf(info *debug.BuildInfo, version, revision string) (string, string) {
	var found string
	if info.Main.Path == module {
		found = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && revision == "" {
				revision = s.Value
			}
		}
	}
	for _, d := range info.Deps {
		if d.Path == module {
			found = d.Version
		}
	}
	if version == "unknown" && found != "" && found != "(devel)" {
		version = found
	}
	return version, revision
}

// Version prints the version, and of what it was built.
func (a *App) Version() error {
	_, err := fmt.Fprintf(a.o.Stdout, "postern %s %s %s/%s\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
