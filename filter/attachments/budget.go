package attachments

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// ambiguity is what is done with a message that two programs may read differently.
type ambiguity uint8

// The ways with ambiguous messages.
const (
	rebuild             ambiguity = iota // it is written anew, in one reading
	rejectAmbiguous                      // it is refused
	quarantineAmbiguous                  // it is kept here
	passAmbiguous                        // it is delivered as it came
)

var ambiguityNames = []string{"rebuild", "reject", "quarantine", "pass"}

func (a ambiguity) String() string { return ambiguityNames[a] }

// UnmarshalYAML reads the way's name.
func (a *ambiguity) UnmarshalYAML(unmarshal func(any) error) error {
	i, err := readWord("value of ambiguous", ambiguityNames, unmarshal)
	if err == nil {
		*a = ambiguity(i)
	}
	return err
}

// archives bounds the work of looking into the containers of one message. Decoding merges: a bound that the
// file does not name stays.
type archives struct {
	Depth  count  `yaml:"depth"`
	Files  count  `yaml:"files"`
	Octets octets `yaml:"octets"`
	Ratio  count  `yaml:"ratio"`
}

// limits gives the bounds to those who look into containers; dir is for what outgrows memory.
func (a archives) limits(dir string) archive.Limits {
	return archive.Limits{Depth: int(a.Depth), Files: int(a.Files), Octets: int64(a.Octets), Ratio: int64(a.Ratio), Dir: dir}
}

// count is a bound on a number of things. None at all is no bound that anybody means: nothing could be
// looked into.
type count int32

// UnmarshalYAML reads a whole number of at least one.
func (c *count) UnmarshalYAML(unmarshal func(any) error) error {
	var s string
	if err := unmarshal(&s); err != nil {
		return err
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("attachments: %q is no bound; allowed: whole numbers from 1 to %d", s, math.MaxInt32)
	}
	*c = count(n)
	return nil
}

// octets is a size.
type octets int64

// The units of sizes, as everywhere in the configuration.
var units = []struct {
	name   string
	octets int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3},
}

// UnmarshalYAML reads a whole number of octets, alone or with one of the units KiB, MiB, GiB, TiB and k, M,
// G, T.
func (o *octets) UnmarshalYAML(unmarshal func(any) error) error {
	var s string
	if err := unmarshal(&s); err != nil {
		return err
	}
	n, err := readSize(s)
	if err != nil {
		return fmt.Errorf("attachments: %q is no size; allowed: a whole number from 1, alone or with KiB, MiB, GiB, TiB, k, M, G or T", s)
	}
	*o = octets(n)
	return nil
}

func readSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, factor = strings.TrimRight(rest, " "), u.octets
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, err
	}
	if n < 1 || int64(n) > math.MaxInt64/factor {
		return 0, errors.New("out of range")
	}
	return int64(n) * factor, nil
}
