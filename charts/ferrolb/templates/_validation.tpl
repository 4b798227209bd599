{{/* The pools that this installation reads, when they are written. Takes the top scope. */}}
{{- define "ferrolb.ownPools" -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Release.Namespace }}
resourceRules:
  - apiGroups: [metallb.io]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE]
    resources: [ipaddresspools]
{{- end -}}

{{/*
An address as a text of fixed length that sorts as addresses do, "4" or "6" first: CEL cannot compare
addresses. Takes an expression in CEL whose value is the text of an address.
*/}}
{{- define "ferrolb.sortable" -}}
(ip({{ . }}).family() == 4
? '4' + {{ . }}.split('.').map(n, ('00' + n).substring(size(n) - 1)).join('')
: '6' + [string(ip({{ . }})).split('::').map(half,
  half == '' ? '' : half.split(':').map(h, ('000' + h).substring(size(h) - 1)).join(''))
  ].map(halves, size(halves) == 1 ? halves[0]
  : halves[0] + '00000000000000000000000000000000'.substring(size(halves[0]) + size(halves[1])) + halves[1])[0])
{{- end -}}

{{/*
Variables of a policy: the entries of a pool. What FerroLB reads is well-formed here too: blanks around an
entry and its parts, a single address, leading zeros of a prefix length. IPv4 addresses in the form of IPv6
are not judged, because CEL does not take them for addresses. Takes prefix (of the variables' names),
addresses (an expression in CEL).
*/}}
{{- define "ferrolb.entries" -}}
- name: {{ .prefix }}texts
  expression: "{{ .addresses }}.map(t, t.trim())"
- name: {{ .prefix }}judged
  expression: >-
    variables.{{ .prefix }}texts.filter(t, !t.matches('(?i)ffff:') && (
      t.contains('-') == t.contains('/') ? isIP(t)
      : t.contains('-') ? t.split('-', 2).all(a, isIP(a.trim()))
      : isIP(t.split('/', 2)[0].trim()) && t.split('/', 2)[1].trim().matches('^0*[0-9]{1,3}$')
        && isCIDR(t.split('/', 2)[0].trim() + '/' + string(int(t.split('/', 2)[1].trim())))))
# Prefixes and single addresses: the text, and where it starts.
- name: {{ .prefix }}prefixes
  expression: >-
    variables.{{ .prefix }}judged.filter(t, !t.contains('-')).map(t,
      t.contains('/') ? t.split('/', 2)[0].trim() + '/' + string(int(t.split('/', 2)[1].trim()))
      : t + (ip(t).family() == 4 ? '/32' : '/128')
    ).map(p, [p, string(cidr(p).masked().ip())]).map(p, [p[0],
      {{ include "ferrolb.sortable" "p[1]" | nindent 6 | trim }}])
# Both ends of ranges as they are written, then both as texts that sort.
- name: {{ .prefix }}ends
  expression: >-
    variables.{{ .prefix }}judged.filter(t, t.contains('-')).map(t, t.split('-', 2).map(a, a.trim())
    ).map(r, r + r.map(a,
      {{ include "ferrolb.sortable" "a" | nindent 6 | trim }}))
# Those that are ranges indeed.
- name: {{ .prefix }}ranges
  expression: >-
    variables.{{ .prefix }}ends.filter(r, r[2] <= r[3] && r[2].startsWith(r[3].substring(0, 1)))
{{- end -}}
