package doctor

import (
	"maps"
	"slices"
)

// advice is why something hurts, and what to do about it.
type advice struct {
	why  string
	mend Mend
}

// Codes lists the codes of all findings there can be.
func Codes() []string { return slices.Sorted(maps.Keys(advices)) }

// Advice gives why a finding of a code hurts, and what to do.
func Advice(code string) (why string, mend Mend) { return advices[code].why, advices[code].mend }

var advices = map[string]advice{
	"unreachable": {
		"No mail gets to the server: clients are told 451, or their mail waits in the spool.",
		Mend{
			Here:     "Look at servers of the upstream, at the name, the port and at firewalls between.",
			Exchange: "Get-ReceiveConnector | fl Name,Bindings,Enabled,RemoteIPRanges; Get-Service MSExchangeFrontEndTransport.",
			Postfix:  "inet_interfaces in main.cf, and whether master.cf has smtp inet.",
			Dovecot:  "service lmtp { inet_listener lmtp { address, port } }, or the path and the mode of unix_listener.",
		},
	},
	"unfinished": {"What was not looked at may be wrong as well.", Mend{Here: "Run it again, for this upstream alone."}},
	"broken":     {"A server that breaks off a dialog breaks off deliveries, too.", Mend{Here: "Look into the server's own log for this moment."}},
	"greeting": {
		"The server does not talk with this gateway: no mail gets there.",
		Mend{
			Here:     "Where the server waits for a PROXY header: identity: proxy; where it knows none: another identity.",
			Exchange: "The gateway's address belongs in RemoteIPRanges of a connector of its own. 421 4.3.2: Get-ServerComponentState, back pressure, or MaxInboundConnectionPerSource.",
			Postfix:  "smtpd_client_restrictions, postscreen (postscreen_access_list), smtpd_upstream_proxy_protocol.",
			Dovecot:  "haproxy = yes of the listener, haproxy_trusted_networks.",
		},
	},
	"slow": {
		"Every client waits as long, and a connection of the few there are is taken meanwhile.",
		Mend{
			Exchange: "10 seconds and more at MAIL are back pressure: Get-ExchangeDiagnosticInfo -Process EdgeTransport -Component ResourceThrottling. A late greeting is a look-up of the gateway's address: give it a PTR in the inner DNS.",
			Postfix:  "A PTR for the gateway in the inner DNS, or smtpd_peername_lookup = no; leave the gateway out of postscreen's tests.",
			Dovecot:  "Look at its processes (process_limit of service lmtp) and its disk.",
		},
	},
	"protocol": {
		"Gateway and server do not speak the same protocol.",
		Mend{
			Here:     "protocol: lmtp for LMTP, which Dovecot speaks on port 24 or a socket; without it for SMTP.",
			Exchange: "A server that says 501 to EHLO does not like hostname.",
			Postfix:  "smtpd_helo_restrictions: let the gateway's hostname pass.",
		},
	},
	"extensions": {
		"Without EHLO there is no TLS, no PIPELINING, no SIZE and no 8BITMIME.",
		Mend{
			Here:    "A firewall that \"inspects\" SMTP (ESMTP fixup) takes EHLO away: switch that off for this way.",
			Postfix: "smtpd_discard_ehlo_keywords must be empty for the gateway.",
		},
	},
	"profile": {
		"Exchange has fields, limits and delays of its own, which profile: exchange minds.",
		Mend{Here: "profile: exchange for upstreams whose servers are Exchange's, and for no others; see docs/config.md."},
	},
	"size": {
		"Mail between the two sizes is refused by the gateway (552). What an organization's inner limit refuses later is bounced, by the server.",
		Mend{
			Here:     "limits.message of the listener as large as the server's limit, less 64 KiB. Attachments grow by 37 % on the wire.",
			Exchange: "Set-ReceiveConnector -MaxMessageSize; and Set-TransportConfig -MaxReceiveSize (10 MB by default), which EHLO does not tell.",
			Postfix:  "message_size_limit (10 MB by default), and mailbox_size_limit above it.",
			Dovecot:  "LMTP says no size; quota_max_mail_size is its limit.",
		},
	},
	"8bitmime": {
		"Mail in UTF-8 is sent as it is: a server that really takes seven bits only would spoil it.",
		Mend{
			Exchange: "Set-ReceiveConnector -EightBitMimeEnabled $true.",
			Postfix:  "Take 8bitmime out of smtpd_discard_ehlo_keywords.",
			Dovecot:  "It always offers it: something between takes it away.",
		},
	},
	"pipelining": {
		"Each recipient costs a way there and back, and the client waits for all of them.",
		Mend{
			Exchange: "Set-ReceiveConnector -PipeliningEnabled $true.",
			Postfix:  "Take pipelining out of smtpd_discard_ehlo_keywords.",
			Dovecot:  "It always offers it: something between takes it away.",
		},
	},
	"smtputf8": {
		"Mail that needs it (an address or a header that is not ASCII, said to be so) is refused (5.6.7, 5.6.9).",
		Mend{
			Exchange: "2019 has it: Set-ReceiveConnector -SmtpUtf8Enabled $true.",
			Postfix:  "smtputf8_enable = yes.",
			Dovecot:  "2.3 does not have it.",
		},
	},
	"codes": {
		"What a refusal means is guessed from its words; where they leave a doubt, the client is put off.",
		Mend{Exchange: "Set-ReceiveConnector -EnhancedStatusCodesEnabled $true.", Postfix: "Take enhancedstatuscodes out of smtpd_discard_ehlo_keywords."},
	},
	"dsn": {
		"What senders ask about notifications is not handed on. Who asks for one of success has one from the gateway, which says that the server has the " +
			"message, and not what became of it there.",
		Mend{
			Here:     "dsn: false for the listener: then the senders' own servers tell them that mail was relayed.",
			Exchange: "Set-ReceiveConnector -DeliveryStatusNotificationEnabled $true.",
			Postfix:  "Take dsn out of smtpd_discard_ehlo_keywords.",
			Dovecot:  "LMTP of 2.3 does not have it.",
		},
	},
	"recipients": {
		"A message with more recipients than the server takes is put off as a whole.",
		Mend{
			Here:     "limits.recipients of the listener no larger than the server's limit.",
			Exchange: "Set-ReceiveConnector -MaxRecipientsPerMessage.",
			Postfix:  "smtpd_recipient_limit.",
		},
	},
	"identity": {
		"The server gets no mail: its log, or its checks, would take the gateway for the client (451, stage identity).",
		Mend{
			Here:     "identity: none, or what the server has.",
			Exchange: "It has none of them: identity: none, and InternalSMTPServers names the gateway.",
			Postfix:  "smtpd_authorized_xforward_hosts or smtpd_authorized_xclient_hosts with the gateway's address; for proxy, a port with smtpd_upstream_proxy_protocol = haproxy.",
			Dovecot:  "For proxy: haproxy = yes of the listener. For xclient: login_trusted_networks with the gateway's address.",
		},
	},
	"tls-missing": {
		"Mail goes in clear, or, where TLS is required, not at all.",
		Mend{
			Exchange: "A certificate for SMTP (Enable-ExchangeCertificate -Services SMTP), and Tls among AuthMechanism of the connector.",
			Postfix:  "smtpd_tls_cert_file, smtpd_tls_key_file, smtpd_tls_security_level = may.",
			Dovecot:  "ssl = yes, ssl_cert, ssl_key; and lmtp among the services it holds for.",
		},
	},
	"tls-unused": {"Whoever listens between reads the mail.", Mend{Here: "tls: opportunistic (the default), required or verify."}},
	"tls-handshake": {
		"With tls: opportunistic mail goes in clear, after a connection in vain; else not at all.",
		Mend{
			Exchange: "Look at the certificate that the connector uses (TlsCertificateName) and at Schannel's events.",
			Postfix:  "smtpd_tls_loglevel = 1, and its log.",
			Dovecot:  "verbose_ssl = yes, and its log.",
		},
	},
	"tls-old": {
		"The gateway takes TLS 1.2 and newer: with tls: opportunistic mail goes in clear, after a connection in vain; else not at all.",
		Mend{
			Exchange: "Switch TLS 1.2 on in Schannel and for .NET (SchUseStrongCrypto), as Exchange's TLS guidance says.",
			Postfix:  "smtpd_tls_protocols = >=TLSv1.2, and a newer OpenSSL.",
			Dovecot:  "ssl_min_protocol = TLSv1.2, and a newer OpenSSL.",
		},
	},
	"tls-expired": {
		"With tls: verify no mail goes to the server once the certificate has expired; other clients may refuse it as well.",
		Mend{
			Exchange: "New-ExchangeCertificate or the renewal of your authority, then Enable-ExchangeCertificate -Services SMTP.",
			Postfix:  "Renew it, and postfix reload.",
			Dovecot:  "Renew it, and doveadm reload.",
		},
	},
	"tls-name": {
		"Nobody can tell the server from somebody in its place; with tls: verify no mail goes there.",
		Mend{
			Here:     "Name the server in servers as its certificate does, or say server_name.",
			Exchange: "A certificate whose names have the server's, chosen by TlsCertificateName of the connector.",
			Postfix:  "A certificate for the server's name in smtpd_tls_chain_files.",
			Dovecot:  "A certificate for the server's name in ssl_cert.",
		},
	},
	"tls-chain": {
		"Nobody can tell the server from somebody in its place; with tls: verify no mail goes there.",
		Mend{
			Here:     "ca_file with the authority that issued it (of a self-signed certificate: with the certificate).",
			Exchange: "A certificate of your own authority in place of the self-signed one.",
			Postfix:  "The chain behind the certificate in smtpd_tls_chain_files.",
			Dovecot:  "The chain behind the certificate in ssl_cert.",
		},
	},
	"auth": {
		"The server gets no mail (451, stage auth).",
		Mend{
			Here:     "user and password_file of the upstream; a server that offers AUTH on port 587 alone wants to be named with it.",
			Exchange: "BasicAuthRequireTLS among AuthMechanism of the connector: it offers LOGIN then, within TLS.",
			Postfix:  "smtpd_sasl_auth_enable = yes, smtpd_sasl_type and smtpd_sasl_path; plain or login among the mechanisms.",
			Dovecot:  "auth_mechanisms = plain login.",
		},
	},
	"mail": {
		"The server takes no mail from the gateway, or no bounces (whose sender is the null one): clients are told 451.",
		Mend{
			Exchange: "Set-ReceiveConnector -PermissionGroups AnonymousUsers for the gateway's connector.",
			Postfix:  "smtpd_sender_restrictions, smtpd_client_restrictions, smtpd_tls_security_level: let the gateway pass, and the null sender.",
			Dovecot:  "Look into its log.",
		},
	},
	"sender": {
		"What the gateway itself sends, such as reports to senders, may be refused, and whether the server relays could not be tried.",
		Mend{Here: "hostname needs an address or an MX in the DNS that the server asks.", Postfix: "reject_unknown_sender_domain, reject_sender_login_mismatch."},
	},
	"resources": {
		"The server is short of disk, memory or the like, and puts all mail off.",
		Mend{
			Exchange: "Back pressure: free disk space for the queue database and memory; event 15004 of MSExchangeTransport names what is short.",
			Postfix:  "queue_minfree, and the disk of queue_directory.",
			Dovecot:  "The disk of the mailboxes.",
		},
	},
	"relay-denied": {
		"The server does not take mail for a domain of ours from the gateway: clients are told 451, and all that mail waits with them.",
		Mend{
			Exchange: "New-AcceptedDomain (Authoritative) for the domain; anonymous users may submit to the connector.",
			Postfix:  "relay_domains, virtual_mailbox_domains or mydestination with the domain; for a smarthost, auth or mynetworks.",
			Dovecot:  "A userdb for the domain's mailboxes.",
		},
	},
	"refuses": {
		"In words that do not say why, the server refuses postmaster as it does names that nobody can have: perhaps everybody, since it wants a login or does not know the gateway.",
		Mend{
			Here:     "auth of the upstream, where the server wants one.",
			Exchange: "The connector's PermissionGroups and RemoteIPRanges.",
			Postfix:  "smtpd_recipient_restrictions and smtpd_relay_restrictions.",
			Dovecot:  "Look into its log.",
		},
	},
	"host": {
		"The server judges the gateway as if it were the sender of all mail: by lists, SPF, its name. Each such refusal is 451 for the client.",
		Mend{
			Exchange: "Set-TransportConfig -InternalSMTPServers with the gateway's addresses; Add-IPAllowListEntry; Sender ID off.",
			Postfix:  "permit for the gateway (check_client_access) before reject_rbl_client, reject_unknown_client_hostname, SPF policies; or identity: xclient. Not mynetworks.",
		},
	},
	"deferred": {
		"All mail for such recipients is put off, by greylisting of the gateway perhaps, or since a directory is down.",
		Mend{Postfix: "Leave the gateway out of greylisting; look at unverified_recipient_reject_code and at its maps.", Dovecot: "Look at its userdb: auth_debug = yes."},
	},
	"postmaster-inside": {
		"RFC 5321 4.5.1: a domain's postmaster is always reachable. The gateway lets his mail pass, and the server refuses it.",
		Mend{
			Exchange: "postmaster@ as a further address of a mailbox.",
			Postfix:  "postmaster in virtual_alias_maps or alias_maps.",
			Dovecot:  "A mailbox or an alias of that name.",
		},
	},
	"unknown-taken": {
		"Mail for mailboxes that do not exist is taken and bounced afterwards, to senders that are forged: backscatter. recipients: callout finds out nothing.",
		Mend{
			Here:     "recipients: {verify: file} or ldap for the route.",
			Exchange: "A Mailbox server takes all and bounces: its Recipient Filter agent would refuse whole messages for one bad recipient. An Edge server, or a list here.",
			Postfix:  "relay_recipient_maps, virtual_mailbox_maps, local_recipient_maps; no catch-all.",
			Dovecot:  "A userdb that knows no other names; not static with allow_all_users=yes.",
		},
	},
	"unknown-deferred": {
		"Mail for mailboxes that do not exist comes again and again, for days, before its sender learns.",
		Mend{
			Postfix: "unknown_local_recipient_reject_code, unknown_relay_recipient_reject_code, unverified_recipient_reject_code = 550, once the maps are right.",
			Dovecot: "A userdb that fails is not one that does not know: look into its log.",
		},
	},
	"tarpit": {
		"A callout gives up before the server answers: unknown recipients are put off (451) and never refused.",
		Mend{
			Here:     "profile: exchange for an Exchange; or recipients: {verify: file}.",
			Exchange: "Set-ReceiveConnector -TarpitInterval 00:00:00 for the gateway's connector.",
			Postfix:  "smtpd_error_sleep_time = 0 for the gateway's port.",
		},
	},
	"trusted": {
		"The server takes the gateway for one of its own: whatever gets through may be relayed anywhere, skips its filters, and on Exchange counts as internal, with all X-MS-Exchange-Organization fields.",
		Mend{
			Exchange: "A connector of its own with anonymous users, without ExternalAuthoritative (externally secured) and without ms-Exch-SMTP-Accept-Any-Recipient.",
			Postfix:  "Take the gateway out of mynetworks; relay_domains is enough.",
			Dovecot:  "A userdb without catch-all.",
		},
	},
	"connections": {
		"The gateway opens so many connections under load: those that are turned away are mail that is put off, and mark the server down.",
		Mend{
			Exchange: "Set-ReceiveConnector -MaxInboundConnectionPerSource 100 and -MaxInboundConnectionPercentagePerSource for the gateway's connector. It counts all connections of the gateway's address.",
			Postfix:  "smtpd_client_connection_count_limit = 0, or the gateway in smtpd_client_event_limit_exceptions; default_process_limit.",
			Dovecot:  "process_limit and client_limit of service lmtp.",
		},
	},

	"resolver": {"Filters can't tell anything, and much mail is put off.", Mend{Here: "dns.servers: a resolver near by that answers, such as unbound on this host."}},
	"resolver-lies": {
		"A resolver that has an answer for every name makes every DNS list list everybody, and every domain exist.",
		Mend{Here: "Another resolver in dns.servers: unbound on this host, which asks the servers of the names themselves."},
	},
	"resolver-refused": {
		"The list does not answer questions that come this way, or not with what it knows: a filter that goes by it is blind, or refuses everybody.",
		Mend{Here: "A resolver of your own in dns.servers, that forwards to no public one (1.1.1.1, 8.8.8.8, 9.9.9.9); a list's own key where it gives one; another list."},
	},
	"hostname": {"The name in greetings and reports leads nowhere: servers that look for it refuse what comes from here.", Mend{Here: "An A or AAAA record for hostname."}},
	"hostname-private": {
		"The inner DNS has another view: PTR and MX are judged by what it says.",
		Mend{Here: "Run it where the DNS is that of the internet, or look at the records there."},
	},
	"ptr": {
		"Many servers refuse mail, also reports, from addresses without a name, or with another than the one in EHLO.",
		Mend{Here: "Your provider sets the PTR of an address: it should be hostname."},
	},
	"ptr-forward": {"A name that does not lead back is anybody's claim: it counts as none.", Mend{Here: "An address record for the name, or hostname as the PTR."}},
	"certificate": {
		"Senders that look (DANE, MTA-STS, partners) do not deliver where name, date or chain is wrong. A key that others can read is theirs as well.",
		Mend{Here: "A certificate for hostname, and for each name of ours in an MX (sni), renewed in time; see docs/running.md."},
	},
	"listener-tls": {"Mail comes in clear, and senders that ask for TLS stay away.", Mend{Here: "tls: {certificate: …, key: …} of the listener."}},
	"mx":           {"Mail for the domain does not come to this gateway.", Mend{Here: "An MX record of the domain that names hostname."}},
	"mx-dead": {
		"Senders that choose this host find nothing; some give up.",
		Mend{Here: "Take the record out, or give the host an address."},
	},
	"mx-others": {
		"Unless they are gateways too, mail gets past the filters there: spammers like the last MX best.",
		Mend{Here: "MX records that name gateways alone; a firewall in front of port 25 of the servers inside."},
	},
	"postmaster": {"RFC 5321 4.5.1: mail for postmaster without a domain has to be taken, and no route takes it.", Mend{Here: "postmaster: an address in a domain of ours that has a route."}},
}
