package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

var senderReply = mail.NewReply(550, 5, 7, 1, "you may not send as the author or sender that this message names")

// ownSender refuses a message whose author or sender is anybody as whom its user may not send: what he may say at MAIL
// nobody sees, what stands in From everybody does. RFC 6409 6.1 lets a server of submission do so.
func ownSender(res *filter.Result, h *mail.Header, may func(mail.Address) bool) {
	if may == nil {
		return
	}
	if why := notOwn(h, may); why != "" {
		refuse(res, "SENDER", why, senderReply)
	}
}

// notOwn says what about author and sender is not the user's own, "" for nothing. A From field that programs read in several
// ways is not.
func notOwn(h *mail.Header, may func(mail.Address) bool) string {
	a := mail.ReadAuthors(h)
	switch {
	case a.Flaw == mail.NoFrom:
		return "no From field"
	case a.Flaw != "" && a.Flaw != mail.SeveralDomains, a.Fields != 1, a.More:
		return fmt.Sprintf("From: %s %s", a.Flaw, a.Detail)
	}
	var domains []string
	for _, f := range h.Fields() {
		from := f.Is("From")
		if !from && !f.Is("Sender") {
			continue
		}
		boxes := mail.ParseMailboxes(f.Body())
		if len(boxes) == 0 || len(boxes) >= maxSenders {
			return fmt.Sprintf("%s: %d addresses", f.Name, len(boxes))
		}
		for _, box := range boxes {
			// RFC 5322 3.6.2: a mailbox with an address; a name alone is nobody's.
			address, err := mail.ParseAddress(strings.Trim(box.Address, " \t"))
			if err != nil || address.Domain() == "" || !may(address) {
				return fmt.Sprintf("%s: %q", f.Name, box.Address)
			}
			if from {
				domains = append(domains, address.Domain())
			}
		}
	}
	for _, d := range a.Domains {
		if !slices.Contains(domains, d) {
			return "From: some read a domain in it: " + d
		}
	}
	return ""
}

// maxSenders is how many addresses From or Sender may name.
const maxSenders = 100
