package eval

import (
	"fmt"
	"regexp"
)

// forms say what has to stand behind a key, for those whose lines SpamAssassin refuses if it does not. A line that is refused sets nothing.
var _ = formed(`\S`, "nothing is named",
	"welcomelist_from", "unwelcomelist_from", "unwelcomelist_from_rcvd", "welcomelist_allows_relays", "blocklist_from", "unblocklist_from",
	"welcomelist_to", "more_spam_to", "all_spam_to", "blocklist_to", "welcomelist_auth", "def_welcomelist_auth", "unwelcomelist_auth",
	"welcomelist_from_spf", "def_welcomelist_from_spf", "unwelcomelist_from_spf", "welcomelist_subject", "blocklist_subject",
	"welcomelist_bounce_relays", "freemail_domains", "freemail_welcomelist", "blocklist_uri_host", "welcomelist_uri_host", "delist_uri_host") &&
	formed(`^\S+\s+\S+$`, "an address and the host that it comes by are needed", "welcomelist_from_rcvd", "def_welcomelist_from_rcvd") &&
	formed(`^\S+(?:\s+\S+)?$`, "an address is needed, and at most one domain that signs", "welcomelist_from_dkim", "def_welcomelist_from_dkim",
		"unwelcomelist_from_dkim") &&
	formed(`^\(.+?\)\s+\S`, "the name of a list in parentheses is needed, and what is on it", "enlist_uri_host", "enlist_addrlist") &&
	formed(`^[^\s.]+(?:\s+[^\s.]+)*$`, "labels without dots are needed", "util_rb_tld") &&
	formed(`^[^\s.]+\.[^\s.]+(?:\s+[^\s.]+\.[^\s.]+)*$`, "domains of two labels are needed", "util_rb_2tld") &&
	formed(`^[^\s.]+(?:\.[^\s.]+){2}(?:\s+[^\s.]+(?:\.[^\s.]+){2})*$`, "domains of three labels are needed", "util_rb_3tld") &&
	formed(`^[+-]?[0-9]+(?:\.[0-9]*)?$`, "a number is needed", "freemail_max_body_emails", "freemail_max_body_freemails",
		"freemail_skip_when_over_max", "freemail_skip_bulk_envfrom", "freemail_add_describe_email")

// formed registers what lines of some keys look like.
func formed(form, need string, names ...string) bool {
	re := regexp.MustCompile(form)
	for _, name := range names {
		checked(name, func(args string) error {
			if !re.MatchString(args) {
				return fmt.Errorf("%s, and there is %q", need, atMostOctets(args, 100))
			}
			return nil
		})
	}
	return true
}
