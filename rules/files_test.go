package rules

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestOrderOfFiles: lexical, with SpamAssassin's own channel first, so that the others change it; of a folder all files of rules.
func TestOrderOfFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "40.cf"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kam_sa-channels_mcgrail_com.cf", "updates_spamassassin_org.cf", "zz.CF", "a.cf", "b.pre", "c.cf~"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("score A 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := []string{"updates_spamassassin_org.cf", "a.cf", "kam_sa-channels_mcgrail_com.cf"}
	for pattern, want := range map[string][]string{
		dir:                        append(slices.Clip(first), "zz.CF"),
		filepath.Join(dir, "*.cf"): first,
		filepath.Join(dir, "kam_sa-channels*.cf"): first[2:],
	} {
		sources, err := ReadFiles([]string{pattern})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range sources {
			got = append(got, filepath.Base(s.Name))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", pattern, got)
		}
	}
	if sources, err := ReadFiles([]string{filepath.Join(dir, "40.cf")}); err == nil {
		t.Errorf("an empty folder: %v", sources)
	}
}
