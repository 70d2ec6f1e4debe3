package app

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	at := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}}
	for name, c := range map[string]struct {
		info                                         debug.BuildInfo
		version, revision, wantVersion, wantRevision string
	}{
		"linked":            {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v9"}, Settings: at}, "v1", "def", "v1", "def"},
		"plain":             {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v1.2.3"}, Settings: at}, "unknown", "", "v1.2.3", "abc"},
		"without a version": {debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}}, "unknown", "", "unknown", ""},
		"in a program of theirs": {debug.BuildInfo{
			Main: debug.Module{Path: "example.org/gateway", Version: "v7"}, Settings: at,
			Deps: []*debug.Module{{Path: "example.org/x", Version: "v3"}, {Path: module, Version: "v1.0.0"}},
		}, "unknown", "", "v1.0.0", ""},
	} {
		if v, r := versionOf(&c.info, c.version, c.revision); v != c.wantVersion || r != c.wantRevision {
			t.Errorf("%s: %q, %q", name, v, r)
		}
	}
}
