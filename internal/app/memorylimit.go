package app

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/pipeline"
)

// Go's collector knows of no limit but GOMEMLIMIT, and without one the system ends a process that takes more than its control
// group may have: all clients at once, in place of the strangers whom the gateway sends away when memory gets tight. So
// where GOMEMLIMIT is not set, the group's limit is taken for it: four fifths, since there files that are read and written
// count, too.

// filterShare is the part of the limit that filters may take at once to look into messages: half. The rest is for clients, tables
// and garbage.
const filterShare = 2

// limitMemory sets Go's soft limit, and what filters have of it, for the rest of the process's life, and tells which there is.
func limitMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") == "" {
		if most := groupMemory(os.DirFS("/")); most > 0 {
			limit := most / 5 * 4
			debug.SetMemoryLimit(limit)
			log.Info("memory limit taken from the control group", "memory", limit, "group_memory", most, "filter_memory", pipeline.SetRoom(limit/filterShare))
			return
		}
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		log.Info("memory limit taken from GOMEMLIMIT", "memory", limit, "filter_memory", pipeline.SetRoom(limit/filterShare))
	} else {
		log.Info("no memory limit: set GOMEMLIMIT for clients to be sent away when memory gets tight", "filter_memory", pipeline.SetRoom(0))
	}
}

// groupMemory gives the least of the memory limits of this process's control group (Linux, version 2) and of those
// above it, in octets; 0 where there is none or it can't be known.
func groupMemory(root fs.FS) (least int64) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		// "0::/system.slice/postern.service"; groups of version 1 have other numbers.
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok || strings.Contains(group, "..") { // one outside of what is mounted here
			continue
		}
		for dir := path.Join("sys/fs/cgroup", group); strings.HasPrefix(dir, "sys/fs/cgroup"); dir = path.Dir(dir) {
			said, _ := fs.ReadFile(root, dir+"/memory.max")
			n, err := strconv.ParseInt(strings.TrimSpace(string(said)), 10, 64) // "max" is none
			if err == nil && n > 0 && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}
