package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/postern-mail/postern/pipeline"
)

func TestGroupMemory(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no control groups", nil, 0},
		{"version 1", map[string]string{"proc/self/cgroup": "4:memory:/a\n", "sys/fs/cgroup/a/memory.max": "99"}, 0},
		{"a service", map[string]string{
			"proc/self/cgroup": "1:name=systemd:/x\n0::/system.slice/postern.service\n",
			"sys/fs/cgroup/system.slice/postern.service/memory.max": "1073741824\n",
			"sys/fs/cgroup/system.slice/memory.max":                 "max\n",
		}, 1 << 30},
		{"less above it", map[string]string{
			"proc/self/cgroup":                   "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":       "max\n",
			"sys/fs/cgroup/a/memory.max":         "4096\n",
			"sys/fs/cgroup/memory.max":           "8192\n",
			"sys/fs/cgroup/elsewhere/memory.max": "1\n",
		}, 4096},
		{"a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 512 << 20},
		{"none", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		{"out of sight", map[string]string{"proc/self/cgroup": "0::/../../b\n", "sys/fs/cgroup/memory.max": "7\n"}, 0},
		{"nonsense", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "-5\n", "sys/fs/cgroup/memory.max": "1x\n"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := fstest.MapFS{}
			for name, text := range c.files {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := groupMemory(files); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// TestLimitMemory: who sets GOMEMLIMIT knows better than the control group.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	defer pipeline.SetRoom(0)
	usual := fmt.Sprintf("filter_memory=%d", pipeline.SetRoom(0))
	for _, c := range []struct {
		variable, said, filters string
		limit                   int64
	}{
		{"900MiB", "memory limit taken from GOMEMLIMIT", "filter_memory=471859200", 900 << 20},
		{"off", "no memory limit", usual, math.MaxInt64},
	} {
		t.Setenv("GOMEMLIMIT", c.variable)
		debug.SetMemoryLimit(c.limit) // as Go's runtime does when it starts
		var said bytes.Buffer
		limitMemory(slog.New(slog.NewTextHandler(&said, nil)))
		if got := debug.SetMemoryLimit(-1); got != c.limit || !strings.Contains(said.String(), c.said) || !strings.Contains(said.String(), c.filters) {
			t.Errorf("%s: %d, %s", c.variable, got, said.String())
		}
	}
}
