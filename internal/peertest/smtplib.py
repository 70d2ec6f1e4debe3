# Sends the messages of a session over one connection; prints "sent" or "not", and what it was told, for each.
import json
import smtplib
import ssl
import sys

order = json.load(sys.stdin)
host, port = order["Addr"].split(":")
unverified = ssl.create_default_context()
unverified.check_hostname = False
unverified.verify_mode = ssl.CERT_NONE


def connect():
    if order["TLS"] == "implicit":
        s = smtplib.SMTP_SSL(host, int(port), local_hostname="client.test", timeout=30, context=unverified)
    else:
        s = smtplib.SMTP(host, int(port), local_hostname="client.test", timeout=30)
        if order["TLS"] == "starttls":
            s.starttls(context=unverified)
    if order["User"]:
        s.login(order["User"], order["Password"])
    return s


def told(e):
    replies = e.recipients.values() if isinstance(e, smtplib.SMTPRecipientsRefused) else e.values() if isinstance(e, dict) else [e.args]
    return type(e).__name__ + ": " + "; ".join(ascii(" ".join(p.decode() if isinstance(p, bytes) else str(p) for p in r)) for r in replies)


try:
    s = connect()
except smtplib.SMTPAuthenticationError as e:
    for m in order["Submission"]:
        print("not", told(e))
    sys.exit()
for m in order["Submission"]:
    options = ["SMTPUTF8", "BODY=8BITMIME"] if m["UTF8"] else []
    try:
        refused = s.sendmail(m["From"], m["To"], m["Content"].encode("utf-8"), mail_options=options)
        print("not" if refused else "sent", told(refused))
    except smtplib.SMTPException as e:
        print("not", told(e))
        if isinstance(e, smtplib.SMTPServerDisconnected):
            s = connect()
s.quit()
