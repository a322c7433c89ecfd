"""The words of the report pages in English and Chinese, side by side; nothing else in the program words a page."""

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

_WEEKDAYS = (
    ("Monday", "星期一"),
    ("Tuesday", "星期二"),
    ("Wednesday", "星期三"),
    ("Thursday", "星期四"),
    ("Friday", "星期五"),
    ("Saturday", "星期六"),
    ("Sunday", "星期日"),
)

CATALOGUE: dict[str, tuple[str, str]] = {
    # heads
    "daily": ("Daily report", "每日报告"),
    "weekly": ("Weekly report", "每周报告"),
    "monthly": ("Monthly report", "每月报告"),
    "previous": ("Previous: {name}", "上一份：{name}"),
    "next": ("Next: {name}", "下一份：{name}"),
    "pages": ("Other reports", "其他报告"),
    "window": ("{first} to {last}", "{first} 至 {last}"),
    "facts": ("Time zone {zone}, revision {revision}, written {at}", "时区 {zone}，修订号 {revision}，生成于 {at}"),
    "period_facts": ("Time zone {zone}, written {at}", "时区 {zone}，生成于 {at}"),
    "not_over": (
        "The day was not over when this was counted: the figures are those of a part of it.",
        "统计时当天尚未结束：以下只是部分数据。",
    ),
    "period_not_over": (
        "The period was not over when this was counted: {days} days are still to come.",
        "统计时该周期尚未结束：还有 {days} 天。",
    ),
    "days_known": ("{known} of {all} days are known.", "共 {all} 天，其中 {known} 天有数据。"),
    "missing_days": ("No figures are stored of: {days}.", "以下日期没有数据：{days}。"),
    "before_known": (
        "Of {name}, {known} of {all} days are known; sums of unlike numbers of days are not compared.",
        "{name} 共 {all} 天，其中 {known} 天有数据；天数不同时不比较总数。",
    ),
    "json": ("All figures as JSON", "全部数据（JSON）"),
    "made": ("Times in seconds (s), rates in percent of all tasks.", "时间单位为秒（s），比率为占全部任务的百分比。"),
    # sections
    "figures": ("Figures", "主要数据"),
    "charts": ("Charts", "图表"),
    "verdicts": ("Compared with what is usual", "与平常相比"),
    "changes": ("Compared with the period before", "与上一周期相比"),
    "failed_tasks": ("Failed tasks", "失败任务"),
    "slowest_tasks": ("Slowest tasks", "最慢的任务"),
    "system": ("Machine and queues", "系统与队列"),
    "quality": ("Data quality", "数据质量"),
    "table": ("As a table", "以表格显示"),
    "no_data": ("There is nothing to draw.", "没有可绘制的数据。"),
    "none_failed": ("No task failed.", "没有失败的任务。"),
    "more_failed": ("The newest {shown} of {all}.", "共 {all} 个，显示最新的 {shown} 个。"),
    "none_timed": ("No task has a time.", "没有任务有处理时间。"),
    "quality_good": ("Every row says what a report needs.", "所有记录都完整。"),
    # figures
    "total_tasks": ("Tasks", "任务总数"),
    "tasks_per_day": ("Tasks a day", "平均每天任务数"),
    "completed": ("Completed", "已完成"),
    "failed": ("Failed", "失败"),
    "completion_rate": ("Completion rate", "完成率"),
    "failure_rate": ("Failure rate", "失败率"),
    "finished_failure_rate": ("Failure rate of finished tasks", "已结束任务的失败率"),
    "average_processing_time": ("Mean time", "平均处理时间"),
    "median": ("Median time", "中位处理时间"),
    "p95": ("95 % are faster than", "95% 的任务快于"),
    "p99": ("99 % are faster than", "99% 的任务快于"),
    "minimum": ("Fastest", "最快"),
    "maximum": ("Slowest", "最慢"),
    "queue_wait": ("Mean time in the queue", "平均排队时间"),
    "throughput": ("Finished per hour", "每小时完成数"),
    "retried_share": ("Needed a retry", "需要重试的任务"),
    "peak_hour": ("Busiest hour", "最忙的时段"),
    "busiest_day": ("Busiest day", "最忙的一天"),
    "bounds": ("95 % bounds: {lower} to {upper}", "95% 置信区间：{lower} 至 {upper}"),
    "usual": ("usual: {lower} to {upper}", "平常：{lower} 至 {upper}"),
    "tasks_count": ("{count} tasks", "{count} 个任务"),
    "more_than": ("{start} and more", "{start} 以上"),
    # charts
    "hours": ("Tasks created in each hour", "各小时创建的任务"),
    "week": ("Tasks of the day and the seven before", "当天与此前七天的任务"),
    "eight_weeks": ("Tasks of the last {days} days", "最近 {days} 天的任务"),
    "days": ("Tasks of each day", "每天的任务"),
    "failure_days": ("Failure rate of each day", "每天的失败率"),
    "durations": ("How long tasks took", "处理时间分布"),
    "categories": ("Failed tasks by category", "失败任务的错误分类"),
    "disk": ("Disk space used during the day (%)", "当天磁盘使用率（%）"),
    "disk_now": ("Disk space", "磁盘空间"),
    "hours_told": ("{total} tasks; the busiest hour is {peak}.", "共 {total} 个任务，最忙的是 {peak} 时。"),
    "line_told": (
        "{first} to {last}, least {least}, most {most}; the band is what was expected, large dots are unusual days.",
        "折线为 {first} 至 {last}，最小 {least}，最大 {most}；阴影为预期范围，大圆点为异常日。",
    ),
    "bars_told": ("The highest bar is {label} with {told}.", "最高的是 {label}：{told}。"),
    "legend_actual": ("counted", "实际"),
    "legend_expected": ("expected", "预期"),
    "legend_band": ("expected band", "预期范围"),
    "legend_odd": ("unusual", "异常"),
    "points": ("{change} points", "{change} 个百分点"),
    # columns
    "hour": ("Hour", "小时"),
    "tasks": ("Tasks", "任务"),
    "day": ("Day", "日期"),
    "time": ("Time", "时间"),
    "expected": ("Expected", "预期"),
    "lower": ("Lower", "下限"),
    "upper": ("Upper", "上限"),
    "duration": ("Time", "处理时间"),
    "category": ("Category", "分类"),
    "share": ("Share", "占比"),
    "mount": ("Disk", "磁盘"),
    "used": ("Used", "已用"),
    "free": ("Free", "可用"),
    "size": ("Size", "容量"),
    "full_at": ("Full", "写满时间"),
    "id": ("ID", "编号"),
    "task": ("Task", "任务"),
    "type": ("Type", "类型"),
    "created": ("Created", "创建时间"),
    "message": ("Message", "错误信息"),
    "retries": ("Retries", "重试"),
    "state": ("State", "状态"),
    "series": ("Figure", "指标"),
    "value": ("Value", "数值"),
    "before": ("Before", "上一周期"),
    "change": ("Change", "变化"),
    "verdict": ("Verdict", "判断"),
    "score": ("z", "z 值"),
    "method": ("Method", "方法"),
    "history": ("Days", "天数"),
    # disks
    "disks": ("Disks", "磁盘"),
    "disks_told": ("As measured last on that day.", "当天最后一次检查的结果。"),
    "inodes": ("inodes", "inode"),
    "full_now": ("full", "已写满"),
    "does_not_fill": ("does not fill", "不会写满"),
    "in_hours": ("in {count} hours", "{count} 小时后"),
    "in_days": ("in {count} days", "{count} 天后"),
    "forecast_slow": ("growth of seven days", "按最近七天的增长"),
    "forecast_fast": ("pace of three hours", "按最近三小时的速度"),
    # verdicts
    "normal": ("as usual", "正常"),
    "anomaly": ("unusual", "异常"),
    "level shift": ("a new level", "水平改变"),
    "insufficient data": ("insufficient data", "数据不足"),
    "told_normal": ("{value}; {lower} to {upper} is usual.", "{value}，正常范围 {lower} 至 {upper}。"),
    "told_small": (
        "{value} lies outside {lower} to {upper}, but the change is too small to count.",
        "{value} 超出 {lower} 至 {upper}，但变化太小，不算异常。",
    ),
    "told_anomaly": (
        "{value}; {expected} was expected, {lower} to {upper} is usual.",
        "{value}，预期 {expected}，正常范围 {lower} 至 {upper}。",
    ),
    "told_shift": (
        "{value}; so for five days. {expected} was expected before, {lower} to {upper} was usual.",
        "{value}，已持续五天；此前预期 {expected}，正常范围 {lower} 至 {upper}。",
    ),
    "told_insufficient": (
        "{value}; {days} days are known, too few to say what is usual.",
        "{value}，只有 {days} 天的数据，无法判断是否正常。",
    ),
    "told_nothing": ("No value that day.", "当天没有数值。"),
    "trend": ("trend", "趋势"),
    "same weekday": ("same weekday", "同一星期日"),
    "seven-day median": ("seven-day median", "七日中位数"),
    # states
    "pending": ("Pending", "等待中"),
    "processing": ("Processing", "处理中"),
    "cancelled": ("Cancelled", "已取消"),
    "unknown": ("Unknown", "未知"),
    # system
    "queue": ("Queue", "队列"),
    "waiting": ("Waiting messages", "等待的消息"),
    "cpu_percent": ("Processor in use", "处理器使用率"),
    "memory_percent": ("Memory in use", "内存使用率"),
    "broker_away": ("The queues could not be seen: {why}", "无法查看队列：{why}"),
    # quality
    "no_finish_time": ("finished rows without a finish time", "已结束但没有结束时间的记录"),
    "negative_durations": ("rows with a time below zero", "处理时间为负的记录"),
    "absurd_times": ("rows with impossible times", "时间不合理的记录"),
    "unknown_status": ("rows with an unmapped status", "状态未映射的记录"),
    "rows_removed_since": ("rows deleted since the day was first counted", "首次统计后被删除的记录"),
    "unmapped_columns": ("columns that the application does not have", "应用中不存在的列"),
}


@dataclass(frozen=True)
class Words:
    """The catalogue in one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """Return the words under `key` with `values` set in. KeyError means a mistake of ours."""
        return CATALOGUE[key][self._column].format(**values)

    def known(self, name: str) -> str:
        """Return the words for a name out of a report, or the name with spaces where there are none."""
        return self(name) if name in CATALOGUE else name.replace("_", " ")

    def weekday(self, number: int) -> str:
        """Return the name of a day of the week, Monday being 0."""
        return _WEEKDAYS[number][self._column]

    @property
    def tag(self) -> str:
        """The language for browsers and screen readers."""
        return "zh-CN" if self.language == "zh" else "en"

    @property
    def _column(self) -> int:
        return LANGUAGES.index(self.language)
