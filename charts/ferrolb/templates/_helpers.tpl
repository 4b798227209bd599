{{/* Prefix of every object's name, cut so that the longest suffix still fits into 63 characters. */}}
{{- define "ferrolb.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
Name of a component's objects outside any namespace. A colon can stand in no name of a namespace or
release, so no two installations share one.
Takes a dict: root (the top scope), component.
*/}}
{{- define "ferrolb.clusterName" -}}
{{- printf "%s:%s-%s" .root.Release.Namespace (include "ferrolb.fullname" .root) .component -}}
{{- end -}}

{{/* What never changes between upgrades: a selector cannot be edited. Takes root, component. */}}
{{- define "ferrolb.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Takes root, component. */}}
{{- define "ferrolb.labels" -}}
{{ include "ferrolb.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Name of a component's ServiceAccount. Takes root, component. */}}
{{- define "ferrolb.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- $derived := printf "%s-%s" (include "ferrolb.fullname" .root) .component -}}
{{- if $account.create -}}
{{- default $derived $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap in which the controller tells the speakers what is in force. */}}
{{- define "ferrolb.compiledName" -}}
{{ include "ferrolb.fullname" . }}-config
{{- end -}}

{{/*
Whether pods of dead nodes are taken out of rotation. Values that are reused from an older chart have no such key.
Takes the top scope.
*/}}
{{- define "ferrolb.removesDead" -}}
{{- eq (default "leave" (default (dict) .Values.deadNodes).endpoints) "remove" -}}
{{- end -}}

{{/* Name of the ConfigMap that both daemons read. */}}
{{- define "ferrolb.configName" -}}
{{- default "config" .Values.existingConfigMap -}}
{{- end -}}

{{/* Annotations of a component's pods. Takes root, component. */}}
{{- define "ferrolb.podAnnotations" -}}
{{- $annotations := dict -}}
{{- if .root.Values.prometheus.scrapeAnnotations -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/port" (.root.Values.prometheus.metricsPort | toString) -}}
{{- end -}}
{{- $annotations = merge (deepCopy (index .root.Values .component).podAnnotations) $annotations -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/*
What of a component's image comes out of values that were written for MetalLB's chart, separated by spaces: it would
start MetalLB, or no image at all. A repository is MetalLB's in whichever registry. With it goes its tag; and one of
MetalLB's beside the chart's own repository: MetalLB's begin with v, FerroLB's do not. Takes root, component.
*/}}
{{- define "ferrolb.imageOfMetalLB" -}}
{{- $image := (index .root.Values .component).image -}}
{{- $repository := splitList "@" $image.repository | first -}}
{{- if or (hasPrefix "quay.io/metallb/" $repository) (regexMatch "metallb[/-](controller|speaker)$" $repository) -}}
image.repository{{ if $image.tag }} image.tag{{ end }}
{{- else if and (eq $repository (printf "ghcr.io/ferrolb/%s" .component)) (regexMatch "^v0[.]" (default "" $image.tag)) -}}
image.tag
{{- end -}}
{{- end -}}

{{/* A component's image. What is MetalLB's counts as not set. Takes root, component. */}}
{{- define "ferrolb.image" -}}
{{- $image := (index .root.Values .component).image -}}
{{- if include "ferrolb.imageOfMetalLB" . -}}
{{- printf "ghcr.io/ferrolb/%s:%s" .component .root.Chart.AppVersion -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/*
The user's labels of a component, without those that the chart sets. Takes root, component.
*/}}
{{- define "ferrolb.ownLabels" -}}
{{- $labels := default (dict) (index .root.Values .component).labels -}}
{{- range $key, $value := omit $labels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{ $key }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}

{{/* Whether a NetworkPolicy is wanted, by our name or by MetalLB's: "true" or nothing. Takes the top scope. */}}
{{- define "ferrolb.networkPolicy" -}}
{{- if or .Values.networkPolicy.enabled (dig "enabled" false (default (dict) .Values.networkpolicies)) }}true{{ end -}}
{{- end -}}

{{/* The UDP port of the speakers among themselves; MetalLB's name for it is mlBindPort. Takes the top scope. */}}
{{- define "ferrolb.peersPort" -}}
{{- /* Values that are reused from an older chart have no such key. */ -}}
{{- $port := int (default 7946 .Values.speaker.peersPort) -}}
{{- if eq $port 7946 -}}
{{- $port = int (default 7946 (dig "mlBindPort" 7946 (default (dict) .Values.speaker.memberlist))) -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{/* Values of MetalLB's chart that were given and change nothing, separated by ", ". Takes the top scope. */}}
{{- define "ferrolb.withoutEffect" -}}
{{- $given := list -}}
{{- range list
  "psp" "crds" "frrk8s" "frr-k8s" "tls" "networkpolicies.apiPort" "networkpolicies.defaultDeny"
  "prometheus.rbacProxy" "prometheus.secureMetricsPort" "prometheus.controllerMetricsTLSSecret"
  "prometheus.speakerMetricsTLSSecret" "prometheus.podMonitor.tlsConfig"
  "prometheus.serviceMonitor.controller.tlsConfig" "prometheus.serviceMonitor.speaker.tlsConfig"
  "prometheus.prometheusRule.bgpSessionDown"
  "controller.webhookMode" "controller.tlsMinVersion" "controller.tlsCipherSuites" "controller.command"
  "controller.livenessProbe.port" "controller.readinessProbe.port"
  "speaker.memberlist.enabled" "speaker.memberlist.mlBindAddrOverride" "speaker.memberlist.mlSecretKeyPath"
  "speaker.frr" "speaker.reloader" "speaker.frrMetrics" "speaker.securityContext" "speaker.secretName"
  "speaker.command" "speaker.wanConfig" "speaker.bgpDebounceTimeout" "speaker.initContainers"
  "speaker.livenessProbe.port" "speaker.readinessProbe.port" "speaker.startupProbe.port"
-}}
{{- $value := $.Values -}}
{{- range splitList "." . -}}
{{- $value = ternary (get (default (dict) $value) .) "" (kindIs "map" $value) -}}
{{- end -}}
{{- if $value }}{{ $given = append $given . }}{{ end -}}
{{- end -}}
{{- range $key, $_ := omit .Values.controller.securityContext "runAsNonRoot" "runAsUser" "runAsGroup" -}}
{{- $given = append $given (printf "controller.securityContext.%s" $key) -}}
{{- end -}}
{{- if not (dig "enabled" true (default (dict) .Values.speaker.excludeInterfaces)) -}}
{{- $given = append $given "speaker.excludeInterfaces.enabled" -}}
{{- end -}}
{{- range list "controller" "speaker" -}}
{{- $component := . -}}
{{- range include "ferrolb.imageOfMetalLB" (dict "root" $ "component" $component) | splitList " " | compact -}}
{{- $given = append $given (printf "%s.%s" $component .) -}}
{{- end -}}
{{- end -}}
{{- join ", " $given -}}
{{- end -}}

{{/* Says the same where everybody can find it: not everybody sees the installation notes. Takes the top scope. */}}
{{- define "ferrolb.toldWithoutEffect" -}}
{{- with include "ferrolb.withoutEffect" . }}
annotations:
  ferrolb.io/values-without-effect: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* Arguments that decide where an address is announced: the same for whoever asks. Takes the top scope. */}}
{{- define "ferrolb.announcing" -}}
{{- $ignored := .Values.speaker.ignoreExcludeLB -}}
{{- if and $ignored (eq .Values.speaker.excludeLabel "strict") }}
{{- fail "speaker.ignoreExcludeLB (use nodes with the label) and speaker.excludeLabel=strict (never use them) contradict each other: remove one" }}
{{- end -}}
- --exclude-label={{ .Values.speaker.excludeLabel }}
{{- with .Values.speaker.interfaces }}
- --interfaces={{ join "," . }}
{{- end }}
{{- end -}}

{{/* The speaker's security: raw sockets, and nothing else. */}}
{{- define "ferrolb.rawSockets" -}}
# Raw sockets for ARP, and nothing else. Only uid 0 gets a capability that is added:
# without privilege escalation any other uid starts with none.
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
  add:
    - NET_RAW
{{- end -}}

{{/* Not empty if connections are kept when an address moves. Values that are reused from an older chart say nothing of it. */}}
{{- define "ferrolb.keeps" -}}
{{- if (default dict .Values.speaker.keepConnections).enabled }}true{{ end -}}
{{- end -}}

{{/* The keeper, beside the speaker. Takes the top scope. */}}
{{- define "ferrolb.keeper" -}}
{{- $values := .Values.speaker.keepConnections -}}
{{- $image := default dict $values.image -}}
name: keeper
image: {{ printf "%s:%s" (default "ghcr.io/ferrolb/keeper" $image.repository) (default .Chart.AppVersion $image.tag) | quote }}
{{- with $image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
args:
  - --socket=/run/ferrolb/keeper.sock
  - --log-level={{ get (dict "all" "trace" "none" "off") .Values.speaker.logLevel | default .Values.speaker.logLevel }}
# A table of nf_tables that passes packets on, and nothing else: no socket on the network, no access to the
# API.
securityContext:
  runAsUser: 0
  runAsGroup: 0
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
    add:
      - NET_ADMIN
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: keeper
    mountPath: /run/ferrolb
{{- end -}}

{{/* Where the speaker knows its node and namespace from. */}}
{{- define "ferrolb.place" -}}
- name: FERROLB_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: FERROLB_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- end -}}

{{/* The taints that a speaker runs under, besides those that Kubernetes adds for a DaemonSet. */}}
{{- define "ferrolb.tolerations" -}}
{{- if or .Values.speaker.tolerateMaster .Values.speaker.tolerations -}}
tolerations:
  {{- if .Values.speaker.tolerateMaster }}
  - key: node-role.kubernetes.io/control-plane
    operator: Exists
    effect: NoSchedule
  # The name of the same taint up to Kubernetes 1.24.
  - key: node-role.kubernetes.io/master
    operator: Exists
    effect: NoSchedule
  {{- end }}
  {{- with .Values.speaker.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* What the containers of both daemons have in common. Takes root, component. */}}
{{- define "ferrolb.container" -}}
{{- $values := index .root.Values .component -}}
name: {{ .component }}
image: {{ include "ferrolb.image" . | quote }}
{{- with $values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
args:
  - --port={{ .root.Values.prometheus.metricsPort }}
  - --config={{ include "ferrolb.configName" .root }}
  {{- if ne (include "ferrolb.compiledName" .root) "ferrolb-config" }}
  - --compiled={{ include "ferrolb.compiledName" .root }}
  {{- end }}
  - --log-level={{ $values.logLevel }}
  - --log-format={{ $values.logFormat }}
  {{- with .root.Values.loadBalancerClass }}
  - --lb-class={{ . }}
  {{- end }}
  {{- if eq .component "controller" }}
  {{- /* Values that are reused from an older chart have no such key. */}}
  {{- if ne (default "auto" .root.Values.configSource) "auto" }}
  - --config-source={{ .root.Values.configSource }}
  {{- end }}
  - --leader-elect
  - --lease-name={{ include "ferrolb.fullname" .root }}-controller
  - --peers-secret={{ include "ferrolb.fullname" .root }}-peers
  {{- end }}
  {{- if eq (include "ferrolb.removesDead" .root) "true" }}
  - --dead-nodes=remove
  {{- if eq .component "speaker" }}
  - --dead-nodes-after={{ default "500ms" .root.Values.deadNodes.after }}
  {{- end }}
  {{- end }}
  {{- with $values.failureDetection }}
  - --failure-detection={{ . }}
  {{- end }}
  {{- if $values.failback }}
  - --failback
  {{- end }}
  {{- if eq .component "speaker" }}
  {{- include "ferrolb.announcing" .root | nindent 2 }}
  - --announce-rate={{ int $values.announceRate }}
  - --announce-refresh={{ int (default $values.announceRefreshSeconds $values.gratuitousARPInterval) }}
  {{- $port := include "ferrolb.peersPort" .root }}
  {{- if ne $port "7946" }}
  - --peers-port={{ $port }}
  {{- end }}
  {{- if eq (default "move" $values.cordon) "stay" }}
  - --cordon=stay
  {{- end }}
  {{- if $values.serviceL2Status }}
  - --service-l2-status
  - --pod=$(FERROLB_POD_NAME)/$(FERROLB_POD_UID)
  {{- end }}
  {{- if include "ferrolb.keeps" .root }}
  - --keeper=/run/ferrolb/keeper.sock
  - --keep-connections-seconds={{ int (default 600 $values.keepConnections.maxSeconds) }}
  {{- end }}
  {{- end }}
ports:
  - name: monitoring
    containerPort: {{ .root.Values.prometheus.metricsPort }}
{{- range $probe, $path := dict "livenessProbe" "/healthz" "readinessProbe" "/readyz" "startupProbe" "/healthz" }}
{{- $probed := default (dict "enabled" false) (index $values $probe) }}
{{- if $probed.enabled }}
{{ $probe }}:
  httpGet:
    path: {{ $path }}
    port: monitoring
{{- /* It is in the node's network, and the node may get another address while it runs. */}}
{{- if eq $.component "speaker" }}
    host: 127.0.0.1
{{- end }}
  {{- with omit $probed "enabled" "port" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the pods of both daemons have in common. Takes root, component. */}}
{{- define "ferrolb.pod" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "ferrolb.serviceAccountName" . }}
# Variables of Services in this namespace could be taken for options: a Service "ferrolb" would
# set FERROLB_PORT.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
nodeSelector:
  {{- toYaml (merge (dict "kubernetes.io/os" "linux") $values.nodeSelector) | nindent 2 }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- else }}
{{- if eq .component "controller" }}
# On nodes of their own where there are enough.
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "ferrolb.selectorLabels" . | nindent 14 }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The matchers of a pool's series: of this installation, without the pools that nobody wants to hear of.
Takes root, rule (the values of an alert).
*/}}
{{- define "ferrolb.ofPools" -}}
{{- $without := list -}}
{{- $rules := default list .rule.excludePools -}}
{{- if kindIs "string" $rules -}}
{{- /* A regular expression, as in MetalLB's values. */ -}}
{{- $without = append $without $rules -}}
{{- $rules = list -}}
{{- end -}}
{{- range concat .root.Values.prometheus.prometheusRule.excludePools $rules -}}
{{- $without = append $without (regexQuoteMeta .) -}}
{{- end -}}
{namespace={{ .root.Release.Namespace | quote }}
{{- with $without }}, pool!~{{ join "|" . | quote }}{{ end -}}
}
{{- end -}}

{{/*
The pools without a free address, if a Service waits for one: an expression. No metric tells which of
several full pools it is. Takes the top scope.
*/}}
{{- define "ferrolb.poolsWaitedFor" -}}
{{- $of := include "ferrolb.ofPools" (dict "root" . "rule" .Values.prometheus.prometheusRule.addressPoolExhausted) -}}
max by (pool) (metallb_allocator_addresses_in_use_total{{ $of }})
>= max by (pool) (metallb_allocator_addresses_total{{ $of }})
and on () max(ferrolb_pending_services{namespace={{ .Release.Namespace | quote }}, reason="pool_exhausted"}) > 0
{{- end -}}

{{/* The labels of an alert. Takes its values. */}}
{{- define "ferrolb.alertLabels" -}}
labels:
  {{- toYaml (default (dict) .labels) | nindent 2 }}
{{- end -}}

{{/*
A monitor of the Prometheus operator for each daemon. Takes root, kind, monitor (its values), endpoints
(what the kind calls its list of them).
*/}}
{{- define "ferrolb.monitors" -}}
{{- $monitor := .monitor -}}
{{- $root := .root -}}
{{- if $monitor.enabled }}
{{- range $component := list "controller" "speaker" }}
{{- $scope := dict "root" $root "component" $component }}
{{- $own := default (dict) (get $monitor $component) }}
{{- if (index $root.Values $component).enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: {{ $.kind }}
metadata:
  name: {{ include "ferrolb.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "ferrolb.labels" $scope | nindent 4 }}
    {{- with merge (dict) (default (dict) $own.additionalLabels) (default (dict) $monitor.additionalLabels) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) (default (dict) $own.annotations) (default (dict) $monitor.annotations) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  jobLabel: {{ $monitor.jobLabel }}
  selector:
    matchLabels:
      {{- include "ferrolb.selectorLabels" $scope | nindent 6 }}
  {{ $.endpoints }}:
    - port: monitoring
      path: /metrics
      {{- with $monitor.interval }}
      interval: {{ . }}
      {{- end }}
      {{- with $monitor.metricRelabelings }}
      metricRelabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $monitor.relabelings }}
      relabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
